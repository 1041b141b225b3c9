"""The adjoint of `dof_motion` with the gradient by parameters: see `parameter_gradient`."""

import warp as wp

from diffsim.physics.adjoint import clear
from diffsim.physics.body_motion import gather_motions, load_motions
from diffsim.physics.integrate import raw_from_tangent
from diffsim.physics.lanes import lane, lanes, sync, world_of
from diffsim.physics.mocap import store_input_cotangents
from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.parameter_gradient import add_position
from diffsim.physics.scratch import Scratch
from diffsim.physics.step import copy
from diffsim.types import real, vec6

wp.set_module_options({"enable_backward": False})


@wp.kernel
def dof_motion_parameters_kernel(
    # model and working memory
    m: ModelArrays,
    s: Scratch,
    # in
    qpos_in: wp.array2d(dtype=real),
    inputs_in: wp.array2d(dtype=real),
    motion_bar_in: wp.array2d(dtype=vec6),
    # out
    qpos_bar_out: wp.array2d(dtype=real),
    inputs_bar_out: wp.array2d(dtype=real),
    parameter_bar_out: wp.array2d(dtype=real),
):
    """As `body_motion.dof_motion_adjoint_kernel`; the parameters are the bodies' poses in the model."""
    world = world_of(0, wp.tid())
    load_motions(m, s, world, qpos_in[world], inputs_in[world])
    gather_motions(m, s, world, motion_bar_in[world])
    clear(s.parameter_bar.shape[1], s.parameter_bar[world])
    sync()
    for body in range(1 + lane(), m.nbody, lanes()):
        add_position(m, s, world, body, s.pose_bar[world, body])
    store_input_cotangents(m, s, world, inputs_bar_out[world])
    raw_from_tangent(m, qpos_in[world], s.qpos_bar[world], qpos_bar_out[world])
    sync()
    copy(parameter_bar_out.shape[1], s.parameter_bar[world], parameter_bar_out[world])
