"""Cotangents of states and inputs through lengths and velocities of tendons, and through lines."""

import warp as wp

from diffsim.physics.lanes import lane, sync, world_of
from diffsim.physics.line_power import sensed_lines_gradient
from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.scratch import Scratch
from diffsim.physics.tendon_equality import add_tendon_bar
from diffsim.types import ZERO, vec2

wp.set_module_options({"enable_backward": False})


@wp.kernel
def element_lines_kernel(
    # model and working memory
    m: ModelArrays,
    s: Scratch,
    # in
    tendon_bar_in: wp.array2d(dtype=vec2),
):
    """After `element_cotangents_kernel`."""
    world = world_of(s.first_world, wp.tid())
    if lane() == 0:
        for tendon in range(m.ntendon):
            bar = tendon_bar_in[world, tendon]
            add_tendon_bar(m, s, world, tendon, bar[0], ZERO, bar[1], ZERO)
    sync()
    if m.nline > 0:
        sensed_lines_gradient(m, s, world)
