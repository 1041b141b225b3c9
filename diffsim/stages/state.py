"""Stages: the start and the end of a forward launch."""

import warp as wp

from diffsim.physics.lanes import lane, lanes, sync, world_of
from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.scratch import START, Scratch
from diffsim.physics.step import all_bounded, all_finite, copy, load_state, store_forces
from diffsim.stages.bounds import OPTIONS
from diffsim.types import real, vec6

wp.set_module_options({"enable_backward": False})


@wp.kernel(**OPTIONS)
def begin_kernel(
    # model and working memory
    m: ModelArrays,
    s: Scratch,
    # in
    state_in: wp.array2d(dtype=real),
    ctrl_in: wp.array2d(dtype=real),
    qfrc_applied_in: wp.array2d(dtype=real),
    # out
    report_out: wp.array2d(dtype=wp.int32),
):
    """Loads the states, and clears the reports but for inputs that are not finite or too large."""
    world = world_of(s.first_world, wp.tid())
    if lane() == 0:
        report_out[world, 2] = 0
    sync()
    if not load_state(m, s, world, state_in[world], ctrl_in[world], qfrc_applied_in[world]):
        report_out[world, 2] = 1


@wp.kernel(**OPTIONS)
def end_kernel(
    # model and working memory
    m: ModelArrays,
    s: Scratch,
    # in
    num_steps: int,
    # out
    result_out: wp.array2d(dtype=real),
    qfrc_constraint_out: wp.array2d(dtype=real),
    qfrc_actuator_out: wp.array2d(dtype=real),
    cfrc_ext_out: wp.array2d(dtype=vec6),
    report_out: wp.array2d(dtype=wp.int32),
):
    """Stores the next states (if `num_steps` is 0, the accelerations), the forces and the reports."""
    world = world_of(s.first_world, wp.tid())
    store_forces(
        m, s, world, qfrc_constraint_out[world], qfrc_actuator_out[world], cfrc_ext_out[world], report_out[world]
    )
    sync()
    if num_steps == 0:
        copy(m.nv, s.qacc[world], result_out[world])
        if m.noslip > 0:
            for i in range(lane(), m.nv, lanes()):
                result_out[world, m.nv + i] = s.rare[0].noslip_vector[world, START, i]
        if not all_finite(m.nv, s.qacc[world]):
            report_out[world, 2] = 1
    else:
        copy(m.nq, s.qpos[world], result_out[world])
        for i in range(lane(), m.nv, lanes()):
            result_out[world, m.nq + i] = s.qvel[world, i]
        for i in range(lane(), m.na, lanes()):
            result_out[world, m.nq + m.nv + i] = s.act[world, i]
        if not (
            all_bounded(m.nq, s.qpos[world]) and all_bounded(m.nv, s.qvel[world]) and all_bounded(m.na, s.act[world])
        ):
            report_out[world, 2] = 1
