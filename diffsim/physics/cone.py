"""Elliptic friction cones: the common force law of a contact's rows, forward and differentiated.

With the components u of `contact`, a contact's first row has J_0 = u_0, and row j = 1, ..., condim - 1 has

    J_j = s_j u_j,    s_j = sqrt(impratio) friction_j / friction_1,    mu = friction_1 / sqrt(impratio)

In these rows MuJoCo's cone is circular, with the slope mu, and all rows have the stiffness D of the first. With
N = J_0 a - aref_0, the vector U_t of the other residuals, its length T, its direction t = U_t / T, and g = N - mu T,

    g >= 0:            no force, the state SATISFIED
    mu N + T <= 0:     f = -D (N, U_t), as rows of their own: the contact sticks, the state QUADRATIC
    else:              f = -K g (1, -mu t), K = D / (1 + mu^2): friction is at its largest, the state SLIDING

The cost 1/2 K g^2 has the Hessian K (1, -mu t) (1, -mu t)' + B (I - t t') with B = -K mu g / T, I and t t' without the
first row. A contact without friction, condim = 1, is the case T = 0.
Source: MuJoCo documentation, Computation, constraint model; `mj_constraintUpdate` of MuJoCo.
"""

import warp as wp

from diffsim.physics.constraint import QUADRATIC, SATISFIED, SLIDING, add_row_scaled, row_dot
from diffsim.physics.contact_list import contact_dim
from diffsim.physics.lanes import lane, lanes
from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.scratch import Scratch
from diffsim.types import ONE, TWO, ZERO, real, vec2, vec6


@wp.func
def side_length(u: vec6) -> real:
    """T of a cone's residuals."""
    return wp.sqrt(u[1] * u[1] + u[2] * u[2] + u[3] * u[3] + u[4] * u[4] + u[5] * u[5])


@wp.func
def side_direction(u: vec6) -> vec6:
    """(0, t) of a cone's residuals, where T > 0."""
    scale = ONE / side_length(u)
    return vec6(ZERO, scale * u[1], scale * u[2], scale * u[3], scale * u[4], scale * u[5])


@wp.func
def cone_state(mu: real, u: vec6) -> int:
    """The state of a cone's rows."""
    side = side_length(u)
    if u[0] >= mu * side:
        return SATISFIED
    if mu * u[0] + side <= ZERO:
        return QUADRATIC
    return SLIDING


@wp.func
def cone_force(state: int, stiffness: real, mu: real, u: vec6) -> vec6:
    """Forces of a cone's rows."""
    if state == QUADRATIC:
        return -stiffness * u
    if state == SATISFIED:
        return vec6()
    side = side_length(u)
    push = stiffness / (ONE + mu * mu) * (mu * side - u[0])
    force = (-mu * push / side) * u
    force[0] = push
    return force


@wp.func
def turning_stiffness(stiffness: real, mu: real, u: vec6) -> real:
    """B of a cone in the state SLIDING."""
    side = side_length(u)
    return stiffness / (ONE + mu * mu) * mu * (mu * side - u[0]) / side


@wp.func
def cone_product(state: int, stiffness: real, mu: real, u: vec6, x: vec6) -> vec6:
    """The Hessian of a cone's cost times x."""
    if state == QUADRATIC:
        return stiffness * x
    if state == SATISFIED:
        return vec6()
    t = side_direction(u)
    along = wp.dot(t, x)
    pull = stiffness / (ONE + mu * mu) * (x[0] - mu * along)
    product = turning_stiffness(stiffness, mu, u) * (x - along * t) - (mu * pull) * t
    product[0] = pull
    return product


@wp.func
def cone_curvature(state: int, stiffness: real, mu: real, u: vec6, x: vec6) -> real:
    """Curvature x' H x with the Hessian H of a cone's cost, as a sum of squares."""
    if state == QUADRATIC:
        return stiffness * wp.dot(x, x)
    if state == SATISFIED:
        return ZERO
    t = side_direction(u)
    along = wp.dot(t, x)
    across = x - along * t
    across[0] = ZERO
    pull = x[0] - mu * along
    return stiffness / (ONE + mu * mu) * pull * pull + turning_stiffness(stiffness, mu, u) * wp.dot(across, across)


@wp.func
def cone_slope_gradient(stiffness: real, mu: real, u: vec6, x: vec6) -> real:
    """Derivative of x . f by mu, of a cone in the state SLIDING, at fixed residuals."""
    side = side_length(u)
    gap = u[0] - mu * side
    shrink = TWO * mu / (ONE + mu * mu)
    along = wp.dot(side_direction(u), x)
    by_mu = x[0] * (side + shrink * gap) + along * (gap - mu * (side + shrink * gap))
    return stiffness / (ONE + mu * mu) * by_mu


@wp.func
def cone_mu(m: ModelArrays, world: int, pair: int) -> real:
    """The slope mu of a pair's cone."""
    return m.pair_friction[world * m.pair_stride + pair, 0] / wp.sqrt(m.impratio)


@wp.func
def cone_scale(m: ModelArrays, world: int, pair: int, j: int) -> real:
    """s_j of a pair's cone."""
    if j == 0:
        return ONE
    adr = world * m.pair_stride + pair
    return wp.sqrt(m.impratio) * m.pair_friction[adr, j - 1] / m.pair_friction[adr, 0]


@wp.func(inline=True)
def load_rows(values: wp.array(dtype=real), first: int, dim: int) -> vec6:
    """The values of a cone's rows; zeros after them."""
    x = vec6()
    for j in range(dim):
        x[j] = values[first + j]
    return x


@wp.func(inline=True)
def load_products(s: Scratch, world: int, first: int, dim: int, x: wp.array(dtype=real)) -> vec6:
    """J x of a cone's rows; zeros after them."""
    y = vec6()
    for j in range(dim):
        y[j] = row_dot(s, world, first + j, x)
    return y


@wp.func(inline=True)
def set_cone(s: Scratch, world: int, first: int, dim: int, mu: real, u: vec6) -> int:
    """Fills residual, state and force of a cone's rows; returns the state."""
    state = cone_state(mu, u)
    force = cone_force(state, s.row_stiffness[world, first], mu, u)
    for j in range(dim):
        s.row_residual[world, first + j] = u[j]
        s.row_state[world, first + j] = state
        s.row_force[world, first + j] = force[j]
    return state


@wp.func(inline=True)
def cone_forces(m: ModelArrays, s: Scratch, world: int, qacc: wp.array(dtype=real)) -> bool:
    """As `row_law.row_forces`, for the rows of contacts. Returns whether none of this lane's exerts a force."""
    idle = bool(True)
    for contact in range(lane(), s.contact_count[world], lanes()):
        pair = s.contact_pair[world, contact]
        first = s.contact_row[world, contact]
        dim = contact_dim(m, s, world, contact)
        u = load_products(s, world, first, dim, qacc) - load_rows(s.row_aref[world], first, dim)
        if set_cone(s, world, first, dim, cone_mu(m, world, pair), u) != SATISFIED:
            idle = False
    return idle


@wp.func(inline=True)
def move_cones(m: ModelArrays, s: Scratch, world: int, alpha: real):
    """As `row_law.move_rows`, for the rows of contacts."""
    for contact in range(lane(), s.contact_count[world], lanes()):
        pair = s.contact_pair[world, contact]
        first = s.contact_row[world, contact]
        dim = contact_dim(m, s, world, contact)
        u = load_rows(s.row_residual[world], first, dim) + alpha * load_rows(s.row_along[world], first, dim)
        set_cone(s, world, first, dim, cone_mu(m, world, pair), u)


@wp.func(inline=True)
def full_step_keeps_cones(m: ModelArrays, s: Scratch, world: int) -> bool:
    """As `newton.full_step_keeps_states`, for this lane's contacts; the cost is not quadratic where one slides."""
    same = bool(True)
    for contact in range(lane(), s.contact_count[world], lanes()):
        pair = s.contact_pair[world, contact]
        first = s.contact_row[world, contact]
        dim = contact_dim(m, s, world, contact)
        along = load_products(s, world, first, dim, s.search[world])
        for j in range(dim):
            s.row_along[world, first + j] = along[j]
        state = cone_state(cone_mu(m, world, pair), load_rows(s.row_residual[world], first, dim) + along)
        if state == SLIDING or state != s.row_state[world, first]:
            same = False
    return same


@wp.func(inline=True)
def cone_derivatives(m: ModelArrays, s: Scratch, world: int, contact: int, alpha: real) -> vec2:
    """Work of a contact's forces along qacc + alpha search, and curvature of its cost."""
    pair = s.contact_pair[world, contact]
    first = s.contact_row[world, contact]
    dim = contact_dim(m, s, world, contact)
    mu = cone_mu(m, world, pair)
    stiffness = s.row_stiffness[world, first]
    along = load_rows(s.row_along[world], first, dim)
    u = load_rows(s.row_residual[world], first, dim) + alpha * along
    state = cone_state(mu, u)
    return vec2(wp.dot(cone_force(state, stiffness, mu, u), along), cone_curvature(state, stiffness, mu, u, along))


@wp.func(inline=True)
def subtract_sliding(m: ModelArrays, s: Scratch, world: int, x: wp.array(dtype=real), y: wp.array(dtype=real)):
    """Y -= J' H J x, with the Hessians of the costs of the contacts that slide. For all lanes."""
    for contact in range(s.contact_count[world]):
        pair = s.contact_pair[world, contact]
        first = s.contact_row[world, contact]
        if s.row_state[world, first] == SLIDING:
            dim = contact_dim(m, s, world, contact)
            u = load_rows(s.row_residual[world], first, dim)
            push = load_products(s, world, first, dim, x)
            pull = cone_product(SLIDING, s.row_stiffness[world, first], cone_mu(m, world, pair), u, push)
            for j in range(dim):
                add_row_scaled(s, world, first + j, -pull[j], y)
