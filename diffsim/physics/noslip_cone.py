"""Friction of one contact with an elliptic cone in the noslip solver: a quadratic cost in a ball, and its adjoint.

    minimize  1/2 x' A x + b' x    over  |x| <= mu n

for the forces x of the friction rows of `cone`, with their slope mu and the force n along the normal. With x = mu v,
A~ = mu^2 A and b~ = mu b the ball is |v| <= n, and on it (A~ + l I) v = -b~ with a multiplier l > 0. Newton's method on
|v|^2 = n^2 finds it from l = 0, and the last v is scaled to the ball.

MuJoCo ends the iteration when l changes by less than 1e-10, which can be more than a millionth of it. The derivative of
the iteration, which is what C MuJoCo simulates, differs by more from that of the minimum, so it is the one taken.
Source: `mju_QCQP` of MuJoCo, whose limits and tolerances these are.
"""

import warp as wp

from diffsim.types import ONE, TWO, ZERO, real, vec5

Block = wp.types.matrix((5, 5), real)
vec20 = wp.types.vector(20, real)

# What an update of a contact's friction was
MINIMUM = wp.constant(0)
NO_FORCE = wp.constant(1)  # the force is zero, because that of the normal is, or because the block is singular
RESTORED = wp.constant(2)  # the force was left as it was, because the cost had grown
MAX_ITERATIONS = wp.constant(20)
SMALL = wp.constant(real(1.0e-10))
MINVAL = wp.constant(real(1.0e-15))


@wp.func
def no_block() -> Block:
    """A diagonal of ones, which stands for what a block does not have."""
    a = Block()
    for i in range(5):
        a[i, i] = ONE
    return a


@wp.func
def block_product(a: Block, x: vec5) -> vec5:
    """A x."""
    y = vec5()
    for i in range(5):
        for j in range(5):
            y[i] += a[i, j] * x[j]
    return y


@wp.func
def factor_block(a: Block, shift: real) -> Block:
    """The factor L of A + shift I = L D L', with D on its diagonal. After a pivot that is not positive come zeros."""
    f = Block()
    for j in range(5):
        pivot = a[j, j] + shift
        for k in range(j):
            pivot -= f[j, k] * f[j, k] * f[k, k]
        if pivot <= ZERO:
            return f
        f[j, j] = pivot
        for i in range(j + 1, 5):
            entry = a[i, j]
            for k in range(j):
                entry -= f[i, k] * f[j, k] * f[k, k]
            f[i, j] = entry / pivot
    return f


@wp.func
def solve_block(f: Block, b: vec5) -> vec5:
    """(L D L')^-1 b."""
    x = vec5()
    for i in range(5):
        value = b[i]
        for k in range(i):
            value -= f[i, k] * x[k]
        x[i] = value
    for r in range(5):
        i = 4 - r
        value = x[i] / f[i, i]
        for k in range(i + 1, 5):
            value -= f[k, i] * x[k]
        x[i] = value
    return x


@wp.func
def is_singular(f: Block, dim: int) -> bool:
    """Whether MuJoCo takes a factored block for singular: by its determinant, or with five rows by its pivots."""
    det = real(1.0)
    least = f[0, 0]
    for i in range(dim):
        det *= f[i, i]
        least = wp.min(least, f[i, i])
    if dim == 5:
        return least < SMALL
    return det < SMALL


@wp.func
def scaled_block(a: Block, mu: real, dim: int) -> Block:
    """A~."""
    scaled = no_block()
    for i in range(dim):
        for j in range(dim):
            scaled[i, j] = mu * mu * a[i, j]
    return scaled


@wp.func
def multipliers(a: Block, b: vec5, normal: real, dim: int):
    """The multipliers l of the iteration for A~ and b~, and how many there are before the last; -1 if A is singular."""
    found = vec20()
    shift = real(0.0)
    for k in range(MAX_ITERATIONS):
        found[k] = shift
        f = factor_block(a, shift)
        if is_singular(f, dim):
            return found, -1
        x = solve_block(f, -b)
        value = wp.dot(x, x) - normal * normal
        if value < SMALL:
            return found, k
        change = value / (TWO * wp.dot(x, solve_block(f, x)))
        if change < SMALL:
            return found, k
        shift += change
    return found, MAX_ITERATIONS - 1


@wp.func
def cone_friction(a: Block, b: vec5, mu: real, normal: real, dim: int):
    """The forces x, and what the update was. `normal` is n > 0, and `dim` the number of rows."""
    scaled = scaled_block(a, mu, dim)
    found, last = multipliers(scaled, mu * b, normal, dim)
    if last < 0:
        return vec5(), NO_FORCE
    x = solve_block(factor_block(scaled, found[last]), -mu * b)
    if last > 0:
        x = (normal / wp.sqrt(wp.max(MINVAL, wp.dot(x, x)))) * x
    return mu * x, MINIMUM


@wp.func
def outer(x: vec5, y: vec5) -> Block:
    """X y'."""
    a = Block()
    for i in range(5):
        for j in range(5):
            a[i, j] = x[i] * y[j]
    return a


@wp.func
def cone_friction_adjoint(a: Block, b: vec5, mu: real, normal: real, dim: int, x_bar: vec5):
    """Cotangents of b, A (not symmetric), n and mu, given that of x. Not for a singular A."""
    scaled = scaled_block(a, mu, dim)
    found, last = multipliers(scaled, mu * b, normal, dim)
    f = factor_block(scaled, found[last])
    v = solve_block(f, -mu * b)
    v_bar = mu * x_bar
    normal_bar = real(0.0)
    mu_bar = wp.dot(x_bar, v)
    if last > 0:
        size = wp.sqrt(wp.max(MINVAL, wp.dot(v, v)))
        mu_bar *= normal / size
        along = wp.dot(v, v_bar) / size
        normal_bar = along
        v_bar = (normal / size) * (v_bar - (along / size) * v)
    z = solve_block(f, v_bar)
    b_bar = -z
    a_bar = -outer(z, v)
    shift_bar = -wp.dot(z, v)
    for r in range(last):
        f = factor_block(scaled, found[last - 1 - r])
        v = solve_block(f, -mu * b)
        h = solve_block(f, v)
        value = wp.dot(v, v) - normal * normal
        slope = wp.dot(v, h)
        value_bar = shift_bar / (TWO * slope)
        slope_bar = -value_bar * value / slope
        normal_bar -= TWO * normal * value_bar
        z = solve_block(f, (TWO * value_bar) * v + (TWO * slope_bar) * h)
        b_bar = b_bar - z
        a_bar = a_bar - outer(z, v) - slope_bar * outer(h, h)
        shift_bar -= wp.dot(z, v) + slope_bar * wp.dot(h, h)
    mu_bar += wp.dot(b_bar, b)
    for i in range(dim):
        for j in range(dim):
            mu_bar += TWO * mu * a_bar[i, j] * a[i, j]
    return mu * b_bar, (mu * mu) * a_bar, normal_bar, mu_bar
