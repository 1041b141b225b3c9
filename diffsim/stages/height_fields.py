"""Stage: contacts of height fields.

There are no lanes. The pairs of a world are shared by as many threads as the last argument says, each of which has a
polytope in the working memory.
"""

import warp as wp

from diffsim.collision.height_field import height_field_contacts
from diffsim.physics.contact import may_touch
from diffsim.physics.lanes import natural
from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.scratch import Scratch
from diffsim.stages.bounds import OPTIONS

wp.set_module_options({"enable_backward": False})


@wp.kernel(**OPTIONS)
def height_fields_kernel(m: ModelArrays, s: Scratch, pairs: wp.array(dtype=wp.int32), threads: int):
    """Fills the candidates of pairs. Needs the frames."""
    world = natural(s.first_world + wp.tid() / threads)
    slot = wp.tid() % threads
    for i in range(slot, pairs.shape[0], threads):
        pair = pairs[i]
        s.pair_detected[world, pair] = 0
        if may_touch(m, s, world, pair) == 1:
            height_field_contacts(m, s, world, slot, pair)
