"""Spatial inertias, the joint-space mass matrix (composite rigid bodies) and its factor.

Source: Featherstone (2008), sections 2.13 and 6.2.
"""

import warp as wp

from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.rotation import quat_to_mat
from diffsim.physics.scratch import Scratch
from diffsim.physics.spatial import apply_inertia
from diffsim.physics.tendon import add_tendon_armature
from diffsim.types import ZERO, mat33, real


@wp.func
def body_inertia(m: ModelArrays, s: Scratch, world: int, body: int):
    """Fills a body's first moment and rotational inertia about the reference point; initialises its subtree's."""
    mass = m.body_mass[world, body]
    axes = quat_to_mat(s.xquat[world, body])
    arm = s.xpos[world, body] + axes * m.body_ipos[body] - s.xpos[world, m.body_root[body]]
    moment = mass * arm
    rotary = axes * m.body_rotary[world, body] * wp.transpose(axes)
    x = moment[0] * arm[0]
    y = moment[1] * arm[1]
    z = moment[2] * arm[2]
    xy = moment[0] * arm[1]
    xz = moment[0] * arm[2]
    yz = moment[1] * arm[2]
    rotary = rotary + mat33(y + z, -xy, -xz, -xy, x + z, -yz, -xz, -yz, x + y)
    s.body_moment[world, body] = moment
    s.body_rotary[world, body] = rotary
    s.subtree_mass[world, body] = mass
    s.subtree_moment[world, body] = moment
    s.subtree_rotary[world, body] = rotary


@wp.func
def subtree_inertias(m: ModelArrays, s: Scratch, world: int):
    """Adds each body's inertia to those of its ancestors. Needs the initial values from `body_inertia`."""
    for r in range(m.nbody - 1):
        body = m.nbody - 1 - r
        parent = m.body_parent[body]
        if parent > 0:
            s.subtree_mass[world, parent] = s.subtree_mass[world, parent] + s.subtree_mass[world, body]
            s.subtree_moment[world, parent] = s.subtree_moment[world, parent] + s.subtree_moment[world, body]
            s.subtree_rotary[world, parent] = s.subtree_rotary[world, parent] + s.subtree_rotary[world, body]


@wp.func
def mass_matrix(m: ModelArrays, s: Scratch, world: int):
    """Fills the lower triangle of M, armature included, from the bodies' inertias."""
    subtree_inertias(m, s, world)
    for row in range(m.nv):
        for col in range(row):
            s.mass_matrix[world, row, col] = ZERO
        body = m.dof_body[row]
        momentum = apply_inertia(
            s.subtree_mass[world, body],
            s.subtree_moment[world, body],
            s.subtree_rotary[world, body],
            s.motion[world, row],
        )
        s.mass_matrix[world, row, row] = wp.dot(s.motion[world, row], momentum) + m.dof_armature[world, row]
        col = m.dof_parent[row]
        while col >= 0:
            s.mass_matrix[world, row, col] = wp.dot(s.motion[world, col], momentum)
            col = m.dof_parent[col]
    add_tendon_armature(m, s, world)


@wp.func
def factor(n: int, a: wp.array2d(dtype=real)):
    """Replaces the lower triangle of a positive definite A by its factor L, A = L' D L, with 1 / D on the diagonal.

    Eliminates rows from the last to the first, from the leaves of the tree to its root. Where neither the tree nor a
    constraint couples two dofs, the entry stays zero and is skipped. Source: Featherstone (2008), section 6.5.
    """
    for r in range(n):
        k = n - 1 - r
        inverse = real(1.0) / a[k, k]
        a[k, k] = inverse
        for c in range(k):
            i = k - 1 - c
            entry = a[k, i]
            if entry != ZERO:
                scaled = entry * inverse
                for j in range(i + 1):
                    a[i, j] = a[i, j] - scaled * a[k, j]
                a[k, i] = scaled


@wp.func
def factor_solve(n: int, a: wp.array2d(dtype=real), x: wp.array(dtype=real)):
    """Solves A x = b in place, given the factor of A."""
    for r in range(n):
        k = n - 1 - r
        value = x[k]
        if value != ZERO:
            for i in range(k):
                x[i] = x[i] - a[k, i] * value
    for k in range(n):
        total = x[k] * a[k, k]
        for i in range(k):
            total -= a[k, i] * x[i]
        x[k] = total


@wp.func
def multiply_mass(m: ModelArrays, s: Scratch, world: int, x: wp.array(dtype=real), result: wp.array(dtype=real)):
    """Result = M x, from the lower triangle."""
    for i in range(m.nv):
        acc = s.mass_matrix[world, i, i] * x[i]
        for j in range(i):
            acc += s.mass_matrix[world, i, j] * x[j]
            result[j] = result[j] + s.mass_matrix[world, i, j] * x[i]
        result[i] = acc
