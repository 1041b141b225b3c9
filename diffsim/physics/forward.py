"""One evaluation of the dynamics: from positions, velocities and controls to accelerations."""

import warp as wp

from diffsim.physics.constraint import finish_rows
from diffsim.physics.contact import contact_rows, place_contacts
from diffsim.physics.equality import equality_rows
from diffsim.physics.joint_equality import joint_equality_rows
from diffsim.physics.lanes import lane, sync
from diffsim.physics.limit import friction_rows, limit_rows
from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.scratch import Scratch
from diffsim.physics.structure import hessian_structure
from diffsim.physics.tendon import tendon_friction_rows, tendon_limit_rows
from diffsim.physics.tendon_equality import tendon_equality_rows


@wp.func(inline=True)
def constraint_rows(m: ModelArrays, s: Scratch, world: int):
    """Fills the rows of all constraints, and the sparsity of the Hessian. Needs the moving frames and the contacts."""
    if lane() == 0:
        s.row_count[world] = 0
        s.run_count[world] = 0
        s.coupled[world] = 0
        equality_rows(m, s, world)
        joint_equality_rows(m, s, world)
        tendon_equality_rows(m, s, world)
        if m.has_frictionloss == 1:
            friction_rows(m, s, world)
        tendon_friction_rows(m, s, world)
        if m.has_limits == 1:
            limit_rows(m, s, world)
        tendon_limit_rows(m, s, world)
        place_contacts(m, s, world)
    sync()
    contact_rows(m, s, world)
    sync()
    finish_rows(m, s, world)
    hessian_structure(m, s, world)
