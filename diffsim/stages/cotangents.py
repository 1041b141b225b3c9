"""Stages of the adjoint around an evaluation: what goes in, what comes out, and the adjoint of the velocity step."""

import warp as wp

from diffsim.physics.adjoint import (
    add,
    begin_slot,
    end_slot,
    load_cotangents,
    store_cotangents,
    velocity_step_adjoint,
)
from diffsim.physics.lanes import world_of
from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.scratch import Scratch
from diffsim.physics.step import EvaluationPoints, copy, evaluation_count
from diffsim.stages.bounds import OPTIONS
from diffsim.types import real

wp.set_module_options({"enable_backward": False})


@wp.kernel(**OPTIONS)
def begin_adjoint_kernel(
    # model and working memory
    m: ModelArrays,
    s: Scratch,
    # in
    ctrl_in: wp.array2d(dtype=real),
    num_steps: int,
    trajectory_in: EvaluationPoints,
    next_bar_in: wp.array2d(dtype=real),
    qpos_bar_in: wp.array2d(dtype=real),
    qvel_bar_in: wp.array2d(dtype=real),
    qacc_bar_in: wp.array2d(dtype=real),
    constraint_bar_in: wp.array2d(dtype=real),
    act_bar_in: wp.array2d(dtype=real),
):
    """Loads the controls and the cotangents of the outputs."""
    world = world_of(s.first_world, wp.tid())
    last = trajectory_in.qpos[world, evaluation_count(m, num_steps) - 1]
    next_bar = next_bar_in[world]
    load_cotangents(
        m,
        s,
        world,
        ctrl_in[world],
        last,
        next_bar,
        qpos_bar_in,
        qvel_bar_in,
        qacc_bar_in,
        constraint_bar_in,
        act_bar_in,
    )


@wp.kernel(**OPTIONS)
def begin_slot_kernel(m: ModelArrays, s: Scratch, t: EvaluationPoints, slot: int, num_steps: int):
    """See `adjoint.begin_slot`."""
    begin_slot(m, s, t, world_of(s.first_world, wp.tid()), slot, num_steps)


@wp.kernel(**OPTIONS)
def velocity_adjoint_kernel(m: ModelArrays, s: Scratch):
    """Adjoint of Euler's step; if it is implicit, the stages `implicit` and `implicit_adjoint` are around this one."""
    world = world_of(s.first_world, wp.tid())
    if m.implicit == 0:
        copy(m.nv, s.qacc[world], s.implicit_qacc[world])
    velocity_step_adjoint(m, s, world)
    if m.implicit == 0:
        add(m.nv, s.implicit_qacc_bar[world], s.qacc_bar[world])


@wp.kernel(**OPTIONS)
def end_slot_kernel(m: ModelArrays, s: Scratch, slot: int, num_steps: int):
    """See `adjoint.end_slot`."""
    end_slot(m, s, world_of(s.first_world, wp.tid()), slot, num_steps)


@wp.kernel(**OPTIONS)
def end_adjoint_kernel(
    # model and working memory
    m: ModelArrays,
    s: Scratch,
    # out
    state_bar_out: wp.array2d(dtype=real),
    ctrl_bar_out: wp.array2d(dtype=real),
    qfrc_applied_bar_out: wp.array2d(dtype=real),
):
    """Stores the cotangents of the inputs."""
    world = world_of(s.first_world, wp.tid())
    store_cotangents(m, s, world, state_bar_out[world], ctrl_bar_out[world], qfrc_applied_bar_out[world])
