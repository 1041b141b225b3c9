"""Positions q (+) dq for an increment dq in the tangent space, as in `mj_integratePos`, and the adjoint.

A quaternion q is normalized and becomes q exp(dq); every other coordinate becomes q + dq.
"""

import warp as wp

from diffsim.physics.lanes import lane, lanes
from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.rotation import SHORTEST, quat_exp, quat_mul, quat_normalize, right_jacobian, rotate
from diffsim.types import BALL, FREE, HALF, TWO, ZERO, quat, real, vec3


@wp.func
def load3(x: wp.array(dtype=real), i: int) -> vec3:
    """Three entries, starting at i."""
    return vec3(x[i], x[i + 1], x[i + 2])


@wp.func
def store3(x: wp.array(dtype=real), i: int, value: vec3):
    """Writes three entries, starting at i."""
    x[i] = value[0]
    x[i + 1] = value[1]
    x[i + 2] = value[2]


@wp.func
def load_quat(x: wp.array(dtype=real), i: int) -> quat:
    """Four entries, starting at i."""
    return quat(x[i], x[i + 1], x[i + 2], x[i + 3])


@wp.func
def integrate_position(
    m: ModelArrays,
    qpos_in: wp.array(dtype=real),
    step: wp.array(dtype=real),
    scale: real,
    qpos_out: wp.array(dtype=real),
):
    """qpos_out = qpos_in (+) scale * step."""
    for joint in range(lane(), m.njnt, lanes()):
        adr = m.jnt_qposadr[joint]
        dof = m.jnt_dofadr[joint]
        kind = m.jnt_type[joint]
        if kind == FREE or kind == BALL:
            if kind == FREE:
                store3(qpos_out, adr, load3(qpos_in, adr) + scale * load3(step, dof))
                adr = adr + 3
                dof = dof + 3
            start = quat_normalize(load_quat(qpos_in, adr))
            turned = quat_normalize(quat_mul(start, quat_exp(scale * load3(step, dof))))
            for i in range(4):
                qpos_out[adr + i] = turned[i]
        else:
            qpos_out[adr] = qpos_in[adr] + scale * step[dof]


@wp.func
def integrate_position_adjoint(
    m: ModelArrays,
    step: wp.array(dtype=real),
    scale: real,
    next_bar: wp.array(dtype=real),
    start_bar: wp.array(dtype=real),
    step_bar: wp.array(dtype=real),
):
    """Adds the cotangent of q to start_bar and writes that of step to step_bar, given that of q (+) scale * step.

    With theta = scale * step: a rotation delta of q rotates q exp(theta) by exp(theta)' delta, and a change of theta
    rotates it by J_r(theta) dtheta.
    """
    for joint in range(lane(), m.njnt, lanes()):
        dof = m.jnt_dofadr[joint]
        kind = m.jnt_type[joint]
        if kind == FREE or kind == BALL:
            if kind == FREE:
                for i in range(3):
                    start_bar[dof + i] = start_bar[dof + i] + next_bar[dof + i]
                    step_bar[dof + i] = scale * next_bar[dof + i]
                dof = dof + 3
            theta = scale * load3(step, dof)
            bar = load3(next_bar, dof)
            store3(start_bar, dof, load3(start_bar, dof) + rotate(quat_exp(theta), bar))
            store3(step_bar, dof, scale * right_jacobian(-theta, bar))
        else:
            start_bar[dof] = start_bar[dof] + next_bar[dof]
            step_bar[dof] = scale * next_bar[dof]


@wp.func
def tangent_from_raw(
    m: ModelArrays, qpos: wp.array(dtype=real), raw: wp.array(dtype=real), tangent: wp.array(dtype=real)
):
    """Adds a cotangent of qpos's coordinates to `tangent`, in the tangent space, where q is a normalized output.

    dq = q (0, delta) / 2, hence delta_bar = vec(q* q_bar) / 2.
    """
    for joint in range(lane(), m.njnt, lanes()):
        adr = m.jnt_qposadr[joint]
        dof = m.jnt_dofadr[joint]
        kind = m.jnt_type[joint]
        if kind == FREE or kind == BALL:
            if kind == FREE:
                for i in range(3):
                    tangent[dof + i] = tangent[dof + i] + raw[adr + i]
                adr = adr + 3
                dof = dof + 3
            q = quat_normalize(load_quat(qpos, adr))
            product = quat_mul(quat(q[0], -q[1], -q[2], -q[3]), load_quat(raw, adr))
            for i in range(3):
                tangent[dof + i] = tangent[dof + i] + HALF * product[i + 1]
        else:
            tangent[dof] = tangent[dof] + raw[adr]


@wp.func
def quat_cotangent(q: quat, tangent: vec3) -> quat:
    """Cotangent of a quaternion's coordinates, given one of its rotation in the body's axes.

    A change dq of a quaternion rotates q by delta = 2 vec(q* dq) / |q|^2, hence q_bar = 2 q (0, delta_bar) / |q|^2.
    A quaternion shorter than SHORTEST stands for the identity, whatever its coordinates, so its cotangent is zero.
    """
    length = wp.length(q)
    if length < SHORTEST:
        return quat(ZERO, ZERO, ZERO, ZERO)
    product = quat_mul(quat_normalize(q), quat(real(0.0), tangent[0], tangent[1], tangent[2]))
    return quat(
        TWO * product[0] / length, TWO * product[1] / length, TWO * product[2] / length, TWO * product[3] / length
    )


@wp.func
def raw_from_tangent(
    m: ModelArrays, qpos: wp.array(dtype=real), tangent: wp.array(dtype=real), raw: wp.array(dtype=real)
):
    """Writes the cotangent of qpos's coordinates to `raw`, given one in the tangent space of the normalized qpos."""
    for joint in range(lane(), m.njnt, lanes()):
        adr = m.jnt_qposadr[joint]
        dof = m.jnt_dofadr[joint]
        kind = m.jnt_type[joint]
        if kind == FREE or kind == BALL:
            if kind == FREE:
                for i in range(3):
                    raw[adr + i] = tangent[dof + i]
                adr = adr + 3
                dof = dof + 3
            bar = quat_cotangent(load_quat(qpos, adr), load3(tangent, dof))
            for i in range(4):
                raw[adr + i] = bar[i]
        else:
            raw[adr] = tangent[dof]
