"""The adjoint of `body_motion` with the gradient by parameters: see `parameter_gradient`."""

import warp as wp

from diffsim.physics.adjoint import clear
from diffsim.physics.body_motion import load_motion, load_motion_cotangents, store_motion_cotangents
from diffsim.physics.constraint_parameters import add_to
from diffsim.physics.lanes import lane, sync, world_of
from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.parameter_gradient import motion_position_gradient
from diffsim.physics.scratch import Scratch
from diffsim.physics.step import copy
from diffsim.types import quat, real, vec3, vec6

wp.set_module_options({"enable_backward": False})


@wp.kernel
def body_motion_parameters_kernel(
    # model and working memory
    m: ModelArrays,
    s: Scratch,
    # in
    qpos_in: wp.array2d(dtype=real),
    qvel_in: wp.array2d(dtype=real),
    qacc_in: wp.array2d(dtype=real),
    inputs_in: wp.array2d(dtype=real),
    xpos_bar_in: wp.array2d(dtype=vec3),
    xquat_bar_in: wp.array2d(dtype=quat),
    velocity_bar_in: wp.array2d(dtype=vec6),
    acceleration_bar_in: wp.array2d(dtype=vec6),
    # out
    qpos_bar_out: wp.array2d(dtype=real),
    qvel_bar_out: wp.array2d(dtype=real),
    qacc_bar_out: wp.array2d(dtype=real),
    inputs_bar_out: wp.array2d(dtype=real),
    parameter_bar_out: wp.array2d(dtype=real),
):
    """As `body_motion.body_motion_adjoint_kernel`; the parameters are the bodies' poses in the model, and gravity."""
    world = world_of(0, wp.tid())
    load_motion(m, s, world, qpos_in[world], qvel_in[world], qacc_in[world], inputs_in[world])
    load_motion_cotangents(
        m,
        s,
        world,
        xpos_bar_in[world],
        xquat_bar_in[world],
        velocity_bar_in[world],
        acceleration_bar_in[world],
    )
    clear(s.parameter_bar.shape[1], s.parameter_bar[world])
    sync()
    motion_position_gradient(m, s, world)
    if lane() == 0:
        for i in range(3):
            total = acceleration_bar_in[world, 0][3 + i]
            for c in range(m.body_childadr[0], m.body_childadr[1]):
                total += s.acceleration_bar[world, m.body_child[c]][3 + i]
            add_to(s, world, m.at_gravity + i, -total)
    store_motion_cotangents(
        m,
        s,
        world,
        qpos_in[world],
        qpos_bar_out[world],
        qvel_bar_out[world],
        qacc_bar_out[world],
        inputs_bar_out[world],
    )
    sync()
    copy(parameter_bar_out.shape[1], s.parameter_bar[world], parameter_bar_out[world])
