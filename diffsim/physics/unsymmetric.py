"""Linear systems of the integrator "implicit", whose matrix has the sparsity of M but is not symmetric.

A = U L with a unit upper triangle U and a lower triangle L, both stored in place of A. From the last dof to
the first, no entry appears between dofs of different branches. One lane works; these functions need a `sync` around.
Source: Featherstone (2008), section 6.5 (for symmetric matrices).
"""

import warp as wp

from diffsim.physics.lanes import lane
from diffsim.types import ONE, real


@wp.func
def factor_unsymmetric(n: int, parent: wp.array(dtype=wp.int32), a: wp.array2d(dtype=real)):
    """Replaces A by its factors."""
    if lane() > 0:
        return
    for r in range(n):
        i = n - 1 - r
        inverse = ONE / a[i, i]
        j = parent[i]
        while j >= 0:
            factor = a[j, i] * inverse
            a[j, i] = factor
            k = parent[i]
            while k >= 0:
                a[j, k] = a[j, k] - factor * a[i, k]
                k = parent[k]
            j = parent[j]


@wp.func
def solve_unsymmetric(n: int, parent: wp.array(dtype=wp.int32), a: wp.array2d(dtype=real), x: wp.array(dtype=real)):
    """Replaces x by A^-1 x."""
    if lane() > 0:
        return
    for r in range(n):
        i = n - 1 - r
        j = parent[i]
        while j >= 0:
            x[j] = x[j] - a[j, i] * x[i]
            j = parent[j]
    for i in range(n):
        total = x[i]
        j = parent[i]
        while j >= 0:
            total -= a[i, j] * x[j]
            j = parent[j]
        x[i] = total / a[i, i]


@wp.func
def solve_transposed(n: int, parent: wp.array(dtype=wp.int32), a: wp.array2d(dtype=real), x: wp.array(dtype=real)):
    """Replaces x by A'^-1 x."""
    if lane() > 0:
        return
    for r in range(n):
        i = n - 1 - r
        value = x[i] / a[i, i]
        x[i] = value
        j = parent[i]
        while j >= 0:
            x[j] = x[j] - a[i, j] * value
            j = parent[j]
    for i in range(n):
        total = x[i]
        j = parent[i]
        while j >= 0:
            total -= a[j, i] * x[j]
            j = parent[j]
        x[i] = total
