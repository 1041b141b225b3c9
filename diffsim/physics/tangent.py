"""Kernels that convert cotangents between the coordinates of qpos and the tangent space (`mj_integratePos`)."""

import warp as wp

from diffsim.physics.adjoint import clear
from diffsim.physics.integrate import raw_from_tangent, tangent_from_raw
from diffsim.physics.lanes import lane, lanes, sync, world_of
from diffsim.physics.model_arrays import ModelArrays
from diffsim.types import real

wp.set_module_options({"enable_backward": False})


@wp.kernel
def to_tangent_kernel(
    # in
    m: ModelArrays,
    state_in: wp.array2d(dtype=real),
    raw_bar_in: wp.array2d(dtype=real),
    # out
    tangent_bar_out: wp.array2d(dtype=real),
):
    """Converts cotangents of a state's coordinates [world, nq + nv + na] to the tangent space [world, 2 nv + na]."""
    world = world_of(0, wp.tid())
    clear(m.nv, tangent_bar_out[world])
    sync()
    tangent_from_raw(m, state_in[world], raw_bar_in[world], tangent_bar_out[world])
    for dof in range(lane(), m.nv, lanes()):
        tangent_bar_out[world, m.nv + dof] = raw_bar_in[world, m.nq + dof]
    for i in range(lane(), m.na, lanes()):
        tangent_bar_out[world, 2 * m.nv + i] = raw_bar_in[world, m.nq + m.nv + i]


@wp.kernel
def from_tangent_kernel(
    # in
    m: ModelArrays,
    state_in: wp.array2d(dtype=real),
    tangent_bar_in: wp.array2d(dtype=real),
    # out
    raw_bar_out: wp.array2d(dtype=real),
):
    """Converts cotangents in the tangent space [world, 2 nv + na] to a state's coordinates [world, nq + nv + na]."""
    world = world_of(0, wp.tid())
    raw_from_tangent(m, state_in[world], tangent_bar_in[world], raw_bar_out[world])
    for dof in range(lane(), m.nv, lanes()):
        raw_bar_out[world, m.nq + dof] = tangent_bar_in[world, m.nv + dof]
    for i in range(lane(), m.na, lanes()):
        raw_bar_out[world, m.nq + m.nv + i] = tangent_bar_in[world, 2 * m.nv + i]
