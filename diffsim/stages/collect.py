"""Stage of the CPU: `gather`, with the contacts, `elements` and `end_slot` in one kernel."""

import warp as wp

from diffsim.physics.adjoint import end_slot
from diffsim.physics.contact_list import contact_total
from diffsim.physics.lanes import world_of
from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.scratch import Scratch
from diffsim.physics.virtual_power import element_gradients, gather_cotangents
from diffsim.stages.bounds import OPTIONS
from diffsim.stages.gather import add_contacts

wp.set_module_options({"enable_backward": False})


@wp.kernel(**OPTIONS)
def collect_kernel(m: ModelArrays, s: Scratch, slot: int, num_steps: int):
    """The end of a slot's adjoint, after the gradients of contacts."""
    world = world_of(s.first_world, wp.tid())
    if contact_total(m, s, world) > 0:
        for body in range(1, m.nbody):
            add_contacts(m, s, world, body)
    gather_cotangents(m, s, world)
    element_gradients(m, s, world)
    end_slot(m, s, world, slot, num_steps)
