"""Stage: from the bodies' cotangents to those of positions and velocities."""

import warp as wp

from diffsim.physics.contact_gradient import add_body_cotangents
from diffsim.physics.contact_list import contact_total
from diffsim.physics.lanes import lane, lanes, world_of
from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.scratch import Scratch
from diffsim.physics.virtual_power import gather_cotangents
from diffsim.stages.bounds import OPTIONS

wp.set_module_options({"enable_backward": False})


@wp.func
def add_contacts(m: ModelArrays, s: Scratch, world: int, body: int):
    """Adds the contacts' cotangents of a body, in the order of the contacts."""
    for contact in range(contact_total(m, s, world)):
        if s.contact_active[world, contact] == 1:
            pair = s.contact_pair[world, contact]
            damping = s.contact_damping[world, contact]
            for side in range(2):
                geom = m.pair_geom1[pair]
                if side == 1:
                    geom = m.pair_geom2[pair]
                if m.geom_body[geom] == body:
                    push = s.contact_push[world, contact, side]
                    pull = s.contact_pull[world, contact, side]
                    add_body_cotangents(s, world, body, push, pull, damping, s.contact_pose[world, contact, side])


@wp.kernel(**OPTIONS)
def add_contacts_kernel(m: ModelArrays, s: Scratch):
    """Adds the cotangents of `collide_gradient` to the bodies'."""
    world = world_of(s.first_world, wp.tid())
    for body in range(1 + lane(), m.nbody, lanes()):
        add_contacts(m, s, world, body)


@wp.kernel(**OPTIONS)
def gather_kernel(m: ModelArrays, s: Scratch):
    """See `virtual_power.gather_cotangents`."""
    gather_cotangents(m, s, world_of(s.first_world, wp.tid()))
