"""Stages: contacts and constraint forces as outputs, and the start and the end of their adjoint."""

import warp as wp

from diffsim.physics.constraint_forces import store_constraint_forces
from diffsim.physics.constraint_forces_adjoint import load_force_cotangents, store_force_gradient
from diffsim.physics.lanes import sync, world_of
from diffsim.physics.mocap import load_inputs
from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.row_law import row_forces
from diffsim.physics.scratch import Scratch
from diffsim.physics.step import EvaluationPoints
from diffsim.stages.bounds import OPTIONS
from diffsim.types import mat33, real, vec3, vec6

wp.set_module_options({"enable_backward": False})


@wp.kernel(**OPTIONS)
def load_inputs_kernel(m: ModelArrays, s: Scratch, inputs_in: wp.array2d(dtype=real)):
    """Loads the inputs."""
    world = world_of(s.first_world, wp.tid())
    load_inputs(m, s, world, inputs_in[world])


@wp.kernel(**OPTIONS)
def sensed_kernel(
    # model and working memory
    m: ModelArrays,
    s: Scratch,
    # out
    count_out: wp.array2d(dtype=wp.int32),
    pair_out: wp.array2d(dtype=wp.int32),
    point_out: wp.array2d(dtype=vec3),
    frame_out: wp.array2d(dtype=mat33),
    distance_out: wp.array2d(dtype=real),
    force_out: wp.array2d(dtype=vec6),
    equality_out: wp.array2d(dtype=vec6),
    joint_limit_out: wp.array2d(dtype=real),
    tendon_limit_out: wp.array2d(dtype=real),
):
    """See `constraint_forces.store_constraint_forces`. Needs the rows, or the noslip solver's forces."""
    world = world_of(s.first_world, wp.tid())
    if m.noslip == 0:
        row_forces(m, s, world, s.qacc[world])
        sync()
    store_constraint_forces(
        m,
        s,
        world,
        count_out[world],
        pair_out[world],
        point_out[world],
        frame_out[world],
        distance_out[world],
        force_out[world],
        equality_out[world],
        joint_limit_out[world],
        tendon_limit_out[world],
    )


@wp.kernel(**OPTIONS)
def begin_sensed_adjoint_kernel(
    # model and working memory
    m: ModelArrays,
    s: Scratch,
    # in
    point_bar_in: wp.array2d(dtype=vec3),
    frame_bar_in: wp.array2d(dtype=mat33),
    distance_bar_in: wp.array2d(dtype=real),
    force_bar_in: wp.array2d(dtype=vec6),
    equality_bar_in: wp.array2d(dtype=vec6),
    joint_limit_bar_in: wp.array2d(dtype=real),
    tendon_limit_bar_in: wp.array2d(dtype=real),
):
    """Loads the cotangents. Needs the rows."""
    world = world_of(s.first_world, wp.tid())
    row_forces(m, s, world, s.qacc[world])
    sync()
    load_force_cotangents(
        m,
        s,
        world,
        point_bar_in[world],
        frame_bar_in[world],
        distance_bar_in[world],
        force_bar_in[world],
        equality_bar_in[world],
        joint_limit_bar_in[world],
        tendon_limit_bar_in[world],
    )


@wp.kernel(**OPTIONS)
def end_sensed_adjoint_kernel(
    # model and working memory
    m: ModelArrays,
    s: Scratch,
    # in
    trajectory_in: EvaluationPoints,
    # out
    qpos_bar_out: wp.array2d(dtype=real),
    qvel_bar_out: wp.array2d(dtype=real),
    qacc_bar_out: wp.array2d(dtype=real),
    inputs_bar_out: wp.array2d(dtype=real),
):
    """Stores the cotangents of the evaluation point."""
    world = world_of(s.first_world, wp.tid())
    qpos = trajectory_in.qpos[world, 0]
    store_force_gradient(
        m, s, world, qpos, qpos_bar_out[world], qvel_bar_out[world], qacc_bar_out[world], inputs_bar_out[world]
    )
