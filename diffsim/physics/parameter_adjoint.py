"""The adjoint of the step and of one evaluation, with the gradient by physical parameters.

A kernel of its own, so that the adjoint without parameters is short, and models compile what they use.
"""

from functools import partial

import warp as wp

from diffsim.collision.gradient_call import calls_gradient
from diffsim.physics.adjoint import (
    add,
    begin_slot,
    clear,
    end_slot,
    euler_velocity_adjoint,
    load_cotangents,
    load_point,
    store_cotangents,
)
from diffsim.physics.implicit import implicit_force_adjoint, implicit_inertia_adjoint
from diffsim.physics.lanes import sync
from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.parameter_gradient import (
    implicit_parameter_gradient,
    implicitfast_parameter_gradient,
    power_parameter_gradient,
)
from diffsim.physics.scratch import Scratch
from diffsim.physics.step import EvaluationPoints, copy, evaluation_count
from diffsim.physics.virtual_power import solve_virtual_velocity, virtual_power_gradient
from diffsim.types import EULER, RK4, real

wp.set_module_options({"enable_backward": False})


@partial(calls_gradient, inline=True)
def implicit_adjoint_with_parameters(m: ModelArrays, s: Scratch, world: int):
    """As `implicit.implicit_adjoint`; adds to parameter_bar, too."""
    implicit_inertia_adjoint(m, s, world)
    implicit_parameter_gradient(m, s, world)
    sync()
    implicit_force_adjoint(m, s, world)
    if m.integrator != EULER:
        implicitfast_parameter_gradient(m, s, world)
        sync()


@partial(calls_gradient, inline=True)
def evaluations_parameter_adjoint(m: ModelArrays, s: Scratch, t: EvaluationPoints, world: int, num_steps: int):
    """As `adjoint.evaluations_adjoint`; fills parameter_bar, too."""
    clear(s.parameter_bar.shape[1], s.parameter_bar[world])
    count = evaluation_count(m, num_steps)
    for r in range(count):
        slot = count - 1 - r
        begin_slot(m, s, t, world, slot, num_steps)
        load_point(m, s, t, world, slot)
        if m.integrator != RK4 and num_steps > 0:
            euler_velocity_adjoint(m, s, world)
            if m.implicit == 1:
                implicit_adjoint_with_parameters(m, s, world)
            else:
                add(m.nv, s.implicit_qacc_bar[world], s.qacc_bar[world])
            sync()
        solve_virtual_velocity(m, s, world)
        virtual_power_gradient(m, s, world)
        power_parameter_gradient(m, s, world)
        end_slot(m, s, world, slot, num_steps)


@wp.kernel
def parameter_adjoint_kernel(
    # model and working memory
    m: ModelArrays,
    s: Scratch,
    worlds_per_thread: int,
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
    # out
    state_bar_out: wp.array2d(dtype=real),
    ctrl_bar_out: wp.array2d(dtype=real),
    qfrc_applied_bar_out: wp.array2d(dtype=real),
    parameter_bar_out: wp.array2d(dtype=real),
):
    """As `adjoint.step_adjoint_kernel`, with the cotangent of the parameters."""
    first = wp.tid() * worlds_per_thread
    for world in range(first, first + worlds_per_thread):
        last = trajectory_in.qpos[world, evaluation_count(m, num_steps) - 1]
        load_cotangents(
            m,
            s,
            world,
            ctrl_in[world],
            last,
            next_bar_in[world],
            qpos_bar_in,
            qvel_bar_in,
            qacc_bar_in,
            constraint_bar_in,
            act_bar_in,
        )
        sync()
        evaluations_parameter_adjoint(m, s, trajectory_in, world, num_steps)
        store_cotangents(m, s, world, state_bar_out[world], ctrl_bar_out[world], qfrc_applied_bar_out[world])
        copy(parameter_bar_out.shape[1], s.parameter_bar[world], parameter_bar_out[world])
