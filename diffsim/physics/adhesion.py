"""Adhesion of contacts: the friction cone is translated along the normal, so that a contact can pull with a force A.

The rows' reference accelerations rise by R A, R = 1 / D, shared equally by the rows of a pyramid; so a row's force is

    f_i = -D_i (J_i a + b J_i v + k d r) + A_i

while it is active. A constant force -A acts along the normal beside it: see `normals`. An adhesive contact farther away
than its margin has no friction.
Source: MuJoCo documentation, Computation, adhesion; `mj_adhesionRef` and `mj_adhesion` of MuJoCo.
"""

import warp as wp

from diffsim.physics.constraint import signed_impedance
from diffsim.physics.contact_list import contact_dim
from diffsim.physics.lanes import lane, lanes
from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.scratch import Scratch
from diffsim.types import ONE, ZERO, real


@wp.func
def row_adhesion(m: ModelArrays, s: Scratch, world: int, contact: int, i: int) -> real:
    """A_i of a contact's row i."""
    adhesion = m.rare[0].pair_adhesion[s.contact_pair[world, contact]]
    dim = contact_dim(m, s, world, contact)
    if dim > 1 and m.elliptic == 0:
        return adhesion / real(2 * (dim - 1))
    if i > 0:
        return ZERO
    return adhesion


@wp.func
def adhesion_reference(m: ModelArrays, s: Scratch, world: int):
    """Adds R A to the reference accelerations of the contacts' rows. Needs `constraint.finish_rows`."""
    for contact in range(lane(), s.contact_count[world], lanes()):
        first = s.contact_row[world, contact]
        rows = contact_dim(m, s, world, contact)
        if m.elliptic == 0:
            rows = wp.max(1, 2 * (rows - 1))
        for i in range(rows):
            share = row_adhesion(m, s, world, contact, i) / s.row_stiffness[world, first + i]
            s.row_aref[world, first + i] = s.row_aref[world, first + i] + share


@wp.func
def adhesion_power(m: ModelArrays, s: Scratch, world: int, contact: int, pull: real) -> real:
    """Minus the part of A in sum_i (J_i x) f_i, which does not change with D. `pull` is beta_0, see `contact_gradient`.

    Within a sliding cone, it is the part of the derivative by D through A / D in the residual.
    """
    return row_adhesion(m, s, world, contact, 0) / s.row_stiffness[world, s.contact_row[world, contact]] * pull


@wp.func
def adhesion_slope(m: ModelArrays, s: Scratch, world: int, contact: int, pull: real) -> real:
    """What adhesion adds to the cotangent of the distance, through D; `pull` is beta_0."""
    row = s.contact_row[world, contact]
    d = signed_impedance(m, world * m.solver_stride + s.row_params[world, row], s.row_position[world, row])
    return d[1] / (d[0] * (ONE - d[0])) * adhesion_power(m, s, world, contact, pull)
