"""Inputs of a world beside its state and controls: poses of mocap bodies, and which equality constraints are active.

A row of inputs of the kernels holds the controls [nu], the mocap bodies' positions [3 nmocap] and quaternions
[4 nmocap], a number per equality constraint [nequality], 1 for active and 0 for inactive, and on request a force and a
torque per body [6 nbody].

A mocap body is a child of the world that is placed anew in each step. It has no velocity, and no dof moves it.
"""

import warp as wp

from diffsim.physics.applied import load_applied, store_applied_cotangents
from diffsim.physics.integrate import load3, load_quat, quat_cotangent, store3
from diffsim.physics.lanes import lane, lanes
from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.rotation import quat_conj, quat_normalize, rotate
from diffsim.physics.scratch import Scratch
from diffsim.physics.spatial import angular, linear
from diffsim.types import HALF, ZERO, real, vec6


@wp.func(inline=True)
def load_inputs(m: ModelArrays, s: Scratch, world: int, inputs: wp.array(dtype=real)):
    """Sets controls, poses of mocap bodies, and which equality constraints are active; clears mocap_bar."""
    for i in range(lane(), m.nu, lanes()):
        s.ctrl[world, i] = inputs[i]
    for k in range(lane(), m.nmocap, lanes()):
        s.mocap_pos[world, k] = load3(inputs, m.nu + 3 * k)
        s.mocap_quat[world, k] = load_quat(inputs, m.nu + 3 * m.nmocap + 4 * k)
        s.mocap_bar[world, k] = vec6()
    for eq in range(lane(), m.nequality, lanes()):
        s.eq_active[world, eq] = wp.where(inputs[m.nu + 7 * m.nmocap + eq] > HALF, 1, 0)
    load_applied(m, s, world, inputs, m.nu + 7 * m.nmocap + m.nequality)


@wp.func(inline=True)
def load_default_mocap(m: ModelArrays, s: Scratch, world: int):
    """Sets the poses of mocap bodies to those of the model."""
    for k in range(lane(), m.nmocap, lanes()):
        body = m.rare[0].mocap_body[k]
        s.mocap_pos[world, k] = m.body_pos[world * m.body_stride + body]
        s.mocap_quat[world, k] = m.body_quat[world * m.body_stride + body]


@wp.func(inline=True)
def store_input_cotangents(m: ModelArrays, s: Scratch, world: int, inputs_bar: wp.array(dtype=real)):
    """Writes the cotangents of the inputs; those of active constraints are zero."""
    for i in range(lane(), m.nu, lanes()):
        inputs_bar[i] = s.ctrl_bar[world, i]
    for k in range(lane(), m.nmocap, lanes()):
        bar = s.mocap_bar[world, k]
        q = s.mocap_quat[world, k]
        store3(inputs_bar, m.nu + 3 * k, linear(bar))
        raw = quat_cotangent(q, rotate(quat_conj(quat_normalize(q)), angular(bar)))
        for i in range(4):
            inputs_bar[m.nu + 3 * m.nmocap + 4 * k + i] = raw[i]
    for eq in range(lane(), m.nequality, lanes()):
        inputs_bar[m.nu + 7 * m.nmocap + eq] = ZERO
    store_applied_cotangents(m, s, world, inputs_bar, m.nu + 7 * m.nmocap + m.nequality)
