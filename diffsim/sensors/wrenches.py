"""Forces that bodies transmit: what a body and its subtree need from the parent (`cfrc_int`)."""

from __future__ import annotations

import torch
from torch import Tensor

from diffsim.engine.rotations import cross, quat_conj, quat_mul, quat_to_mat, rotate, rotate_back
from diffsim.sensors.reading import Reading


def transmitted_wrenches(reading: Reading) -> Tensor:
    """Torque about `reading.centre` and force that each body's parent exerts on it: [N, nbody, 6] N m, N.

    Newton's and Euler's laws for the body's subtree, minus the forces of contacts and of connect and weld constraints.
    Like MuJoCo's, they leave out forces of a fluid.
    """
    subtrees, motion = reading.subtrees, reading.moving
    frames = subtrees.frames
    alpha, a = frames.accelerations(motion).split(3, dim=-1)
    w = frames.velocities(motion)[..., :3]
    mats = frames.mats(motion)
    force = subtrees.mass[:, None] * a
    spin = rotate(mats, subtrees.inertia * rotate_back(mats, w))
    torque = rotate(mats, subtrees.inertia * rotate_back(mats, alpha)) + cross(w, spin)
    torque = torque + cross(frames.positions(motion) - reading.centre, force)
    applied = _contact_wrenches(reading) + _equality_wrenches(reading)
    if reading.applied is not None:
        push, turn = reading.applied.split(3, dim=-1)
        applied = applied + torch.cat([turn + cross(frames.positions(motion) - reading.centre, push), push], dim=-1)
    applied = torch.cat([torch.zeros_like(applied[:, :1]), applied[:, 1:]], dim=1)  # MuJoCo's are not on the world
    return subtrees.members @ (torch.cat([torque, force], dim=-1) - applied)


def _contact_wrenches(reading: Reading) -> Tensor:
    """Sum of the contacts' forces on each body, [N, nbody, 6]."""
    forces, nbody = reading.forces, reading.mj_model.nbody
    force, torque = (rotate_back(forces.frame, part) for part in forces.force.split(3, dim=-1))
    wrench = torch.cat([torque + cross(forces.point - reading.centre, force), force], dim=-1)
    total = wrench.new_zeros(len(wrench), nbody, 6)
    for side, sign in ((0, -1.0), (1, 1.0)):
        index = reading.contact_bodies[..., side].clamp_min(0)[..., None].expand(-1, -1, 6)
        total = total.scatter_add(1, index, sign * wrench)
    return total


def _equality_wrenches(reading: Reading) -> Tensor:
    """Sum of the forces of connect and weld constraints on each body, [N, nbody, 6]."""
    model, motion, nbody = reading.model, reading.moving, reading.mj_model.nbody
    total = motion.xpos.new_zeros(len(motion.xpos), nbody, 6)
    for eq in range(model.field("neq")):
        bodies, anchors = model.field("eq_body")[eq], model.field("eq_anchor")[eq]
        force, turning = reading.forces.equality[:, eq].split(3, dim=-1)
        torque = torch.zeros_like(force)
        if model.field("eq_rows")[eq] == 6:
            torque = _weld_torque(reading, eq, turning)
        for side, sign in ((0, 1.0), (1, -1.0)):
            body = int(bodies[side])
            mat = quat_to_mat(motion.xquat[:, body])
            point = motion.xpos[:, body] + rotate(mat, reading.tensor(anchors[side]))
            about = torque + cross(point - reading.centre[:, 0], force)
            index = torch.tensor([body], device=total.device)
            total = total.index_add(1, index, sign * torch.cat([about, force], dim=-1)[:, None])
    return total


def _weld_torque(reading: Reading, eq: int, force: Tensor) -> Tensor:
    """Torque of a weld's three rotational forces; `equality` has the symbols."""
    model, motion = reading.model, reading.moving
    bodies, quats = model.field("eq_body")[eq], model.field("eq_quat")[eq]
    first, second = (quat_mul(motion.xquat[:, int(bodies[i])], reading.tensor(quats[i])) for i in range(2))
    between = quat_mul(first, quat_conj(second))
    turned = rotate(quat_to_mat(second), force)
    scale = 0.5 * float(model.field("eq_torquescale")[eq])
    return scale * (between[:, :1] * turned + cross(between[:, 1:], turned))
