"""Moments of actuators as functions of their gears, so that gradients reach `actuator_gear`."""

from typing import NamedTuple

import mujoco
import numpy as np
import torch
from torch import Tensor

from diffsim.compile.actuator_additions import JOINTS
from diffsim.compile.lines import actuator_of_lines, moving_actuators, spatial_tendons, turns_ball_in_parent
from diffsim.types import BALL, FREE, IMPLICIT, IMPLICITFAST

TENDON = int(mujoco.mjtTrn.mjTRN_TENDON)


class MomentEntry(NamedTuple):
    """An entry of a constant moment: a number of the gear times a coefficient, at a dof.

    Attributes:
        place: of the actuator among the enabled ones.
        dof: the dof.
        qpos: address of the coordinate in the actuator's length, -1 for none.
        gear: which of the six numbers of the gear.
        coefficient: of the gear.
    """

    place: int
    dof: int
    qpos: int
    gear: int
    coefficient: float


def moment_entries(m: mujoco.MjModel, active: list[int]) -> list[MomentEntry]:
    """Entries of the constant moments of the enabled actuators; none for those whose moments are in `lines`."""
    moving, spatial = moving_actuators(m, active), spatial_tendons(m)
    entries = []
    for place, i in enumerate(active):
        target = int(m.actuator_trnid[i, 0])
        if i in moving:
            continue
        if m.actuator_trntype[i] == TENDON:
            first = int(m.tendon_adr[target])
            for wrap in range(first, first + int(m.tendon_num[target])) if target not in spatial else ():
                joint, coefficient = m.wrap_objid[wrap], float(m.wrap_prm[wrap])
                dof, qpos = int(m.jnt_dofadr[joint]), int(m.jnt_qposadr[joint])
                entries.append(MomentEntry(place, dof, qpos, 0, coefficient))
        else:
            size = {int(FREE): 6, int(BALL): 3}.get(int(m.jnt_type[target]), 1)
            first, qpos = int(m.jnt_dofadr[target]), int(m.jnt_qposadr[target]) if size == 1 else -1
            entries += [MomentEntry(place, first + k, qpos, k, 1.0) for k in range(size)]
    return entries


def moment_values(m: mujoco.MjModel, active: list[int], gear: Tensor) -> Tensor:
    """Values of `moment_entries`, for gears [..., nactuator, 6]: [..., number of entries]."""
    entries = moment_entries(m, active)
    rows = torch.tensor([m.actuator_outadr[active[e.place]] for e in entries], dtype=torch.int64, device=gear.device)
    columns = torch.tensor([entry.gear for entry in entries], dtype=torch.int64, device=gear.device)
    coefficients = torch.tensor([entry.coefficient for entry in entries], dtype=gear.dtype, device=gear.device)
    return gear[..., rows, columns] * coefficients


def tendon_gears(m: mujoco.MjModel, active: list[int], gear: Tensor) -> Tensor:
    """The gears of the enabled actuators on spatial tendons, 1 for the others: [..., number of enabled ones]."""
    spatial = spatial_tendons(m)
    pulls = [bool(m.actuator_trntype[i] == TENDON and m.actuator_trnid[i, 0] in spatial) for i in active]
    return torch.where(
        torch.tensor(pulls, dtype=torch.bool, device=gear.device), gear[..., m.actuator_outadr[active], 0], 1.0
    )


def line_gears(m: mujoco.MjModel, active: list[int], gear: Tensor) -> Tensor:
    """The gears of the lines of actuators, 0 for those of tendons: [..., nline, 6].

    A ball joint's axis, the first three numbers of its gear, is the rotational part of its line's gear.
    """
    owners = actuator_of_lines(m, active)
    if not any(owner >= 0 for owner in owners):  # the model may have no actuator
        return gear.new_zeros(*gear.shape[:-2], len(owners), 6)
    rows = torch.tensor(m.actuator_outadr[owners].clip(0), dtype=torch.int64, device=gear.device)
    own = torch.tensor([owner >= 0 for owner in owners], dtype=torch.bool, device=gear.device)
    gears = torch.where(own[:, None], gear.index_select(-2, rows), 0.0)
    turns = [owner >= 0 and turns_ball_in_parent(m, owner) for owner in owners]
    balls = torch.tensor(turns, dtype=torch.bool, device=gear.device)[:, None]
    return torch.where(balls, torch.cat([torch.zeros_like(gears[..., :3]), gears[..., :3]], dim=-1), gears)


def turn_periods(m: mujoco.MjModel, active: list[int], periods: np.ndarray, gear: Tensor) -> Tensor:
    """Periods of the setpoints of servos on rotations, 2 pi times the length of the gear's rotational part.

    Args:
        m: the model.
        active: the enabled actuators.
        periods: at the model's own gears, 0 for other actuators: [number of enabled ones].
        gear: [..., nactuator, 6].

    Returns: [..., number of enabled ones].
    """
    moving = moving_actuators(m, active)
    sites = [i in moving and not turns_ball_in_parent(m, i) for i in active]
    columns = torch.tensor([[3, 4, 5] if site else [0, 1, 2] for site in sites], dtype=torch.int64)
    columns = columns.reshape(-1, 3).to(gear.device)
    rows = torch.tensor(m.actuator_outadr[active], dtype=torch.int64, device=gear.device)[:, None]
    own = torch.as_tensor(periods[: len(active)], dtype=gear.dtype, device=gear.device)
    model = torch.as_tensor(m.actuator_gear, dtype=gear.dtype, device=gear.device)
    turns = own > 0
    new, old = (torch.where(turns[:, None], g[..., rows, columns], 1.0).square().sum(-1).sqrt() for g in (gear, model))
    return own * (new / old)


def joint_additions(m: mujoco.MjModel, values: np.ndarray, gear: Tensor) -> Tensor:
    """What the actuators on joints add to their dofs' damping or armature.

    Args:
        m: the model.
        values: [nactuator] damping or armature of the actuators.
        gear: [..., nactuator, 6].

    Returns: [..., nv] sums of the values times the square of the gear, less those at the model's own gears.
    """
    weights = np.zeros((m.nactuator, m.nv))
    for i in range(m.nactuator):
        if m.actuator_trntype[i] in JOINTS:
            weights[i, m.dof_jntid == m.actuator_trnid[i, 0]] = values[i]
    own = torch.as_tensor(m.actuator_gear, dtype=gear.dtype, device=gear.device)
    change = (gear[..., 0].square() - own[:, 0].square())[..., m.actuator_outadr]
    return (change[..., None] * torch.as_tensor(weights, dtype=gear.dtype, device=gear.device)).sum(-2)


def fixed_gears(m: mujoco.MjModel, active: list[int]) -> str | None:
    """Why the gears of a model cannot be parameters; None if they can."""
    on_tendon = m.actuator_trntype == TENDON
    if m.actuator_dampingpoly.any() or m.actuator_damping[on_tendon].any() or m.actuator_armature[on_tendon].any():
        return "polynomial damping of actuators, or damping or armature of those on tendons"
    if m.opt.integrator in (IMPLICIT, IMPLICITFAST) and moving_actuators(m, active):
        return "implicit integrators and actuators on sites or slider-cranks"
    return None
