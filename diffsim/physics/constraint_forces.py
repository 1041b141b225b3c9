"""Contacts, and forces of constraints, as functions of positions, velocities and accelerations.

The rows' law gives the forces f(q, v, a) without a solve.
"""

import warp as wp

from diffsim.physics.constraint import BALL_LIMIT, JOINT_LIMIT, TENDON_LIMIT
from diffsim.physics.contact import contact_force
from diffsim.physics.contact_list import contact_total, listed_place
from diffsim.physics.lanes import lane, lanes
from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.scratch import Scratch
from diffsim.types import ZERO, mat33, real, vec3, vec6

wp.set_module_options({"enable_backward": False})


@wp.func
def is_limit_of_joint(s: Scratch, world: int, row: int) -> bool:
    """Whether a row is a joint's limit."""
    return s.row_source[world, row] == JOINT_LIMIT or s.row_source[world, row] == BALL_LIMIT


@wp.func
def store_constraint_forces(
    m: ModelArrays,
    s: Scratch,
    world: int,
    count: wp.array(dtype=wp.int32),
    pair: wp.array(dtype=wp.int32),
    point: wp.array(dtype=vec3),
    frame: wp.array(dtype=mat33),
    distance: wp.array(dtype=real),
    force: wp.array(dtype=vec6),
    equality: wp.array(dtype=vec6),
    joint_limit: wp.array(dtype=real),
    tendon_limit: wp.array(dtype=real),
):
    """Writes contacts and forces; zeros, and pair -1, beyond the last contact. Needs the rows' forces."""
    if lane() == 0:
        count[0] = contact_total(m, s, world)
    for contact in range(lane(), m.max_contacts, lanes()):
        place = contact
        if contact < contact_total(m, s, world):
            place = listed_place(m, s, world, contact)
        pair[place] = -1
        point[place] = vec3(ZERO, ZERO, ZERO)
        frame[place] = mat33()
        distance[place] = ZERO
        force[place] = vec6()
        if contact < contact_total(m, s, world):
            pair[place] = s.contact_pair[world, contact]
            point[place] = s.contact_point[world, contact]
            frame[place] = s.contact_frame[world, contact]
            distance[place] = s.contact_distance[world, contact]
        if contact < s.contact_count[world]:
            force[place] = contact_force(m, s, world, contact)
    for eq in range(lane(), m.neq, lanes()):
        both = vec6()
        if s.eq_row[world, eq] >= 0:
            for i in range(m.rare[0].eq_rows[eq]):
                both[i] = s.row_force[world, s.eq_row[world, eq] + i]
        equality[eq] = both
    store_limit_forces(m, s, world, joint_limit, tendon_limit)


@wp.func
def store_limit_forces(
    m: ModelArrays, s: Scratch, world: int, joint_limit: wp.array(dtype=real), tendon_limit: wp.array(dtype=real)
):
    """Writes the forces of limits. MuJoCo's sensors read the first row of a joint or tendon, so the last write is its.

    One lane does it.
    """
    if lane() == 0:
        for joint in range(m.njnt):
            joint_limit[joint] = ZERO
        for tendon in range(m.ntendon):
            tendon_limit[tendon] = ZERO
        for r in range(s.row_count[world]):
            row = s.row_count[world] - 1 - r
            if is_limit_of_joint(s, world, row):
                joint_limit[s.row_index[world, row]] = s.row_force[world, row]
            elif s.row_source[world, row] == TENDON_LIMIT:
                tendon_limit[s.row_index[world, row]] = s.row_force[world, row]
