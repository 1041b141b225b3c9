"""Solver parameters of constraints, solref and solimp, as torch functions, so that gradients reach the model's fields.

One table has a row for each joint (its limit), each dof (its friction), each pair of geoms that can touch, each connect
or weld constraint, each joint constraint, each tendon constraint, and each tendon's limit and friction, in this order.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import mujoco
import numpy as np
import torch
from torch import Tensor

DISABLE = mujoco.mjtDisableBit


class SolverTable(NamedTuple):
    """The table of a model as it was compiled, and what is needed to make it again from other fields."""

    solref: np.ndarray  # [n, 2]
    solimp: np.ndarray  # [n, 5]
    pairs: np.ndarray  # [npair, 2] geoms
    own: np.ndarray  # [npair] whether a <pair> or <option> gives the parameters
    equalities: list[int]  # ids


FIELDS = ("jnt", "dof", "geom", "eq")
"""Elements whose fields `..._solref` and `..._solimp` can be given; those of a joint are its limit's."""


def solver_fields(m: mujoco.MjModel) -> dict[str, np.ndarray]:
    """The fields of the model that can be given."""
    return {f"{name}_{part}": getattr(m, f"{name}_{part}") for name in FIELDS for part in ("solref", "solimp")}


def solver_tables(m: mujoco.MjModel, table: SolverTable, given: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Coefficients k and b [..., n, 2] of aref = -b J v - k d r, and clipped solimp [..., n, 5], from the fields."""
    parts = []
    for part, whole in (("solref", table.solref), ("solimp", table.solimp)):
        fields = {name: given[f"{name}_{part}"] for name in FIELDS}
        compiled = torch.as_tensor(whole, dtype=fields["jnt"].dtype, device=fields["jnt"].device)
        first = m.njnt + m.nv
        last = first + len(table.pairs)
        rest = last + len(table.equalities)
        batch = fields["jnt"].shape[:-2]
        own = torch.as_tensor(table.own, device=compiled.device)[:, None]
        mixed = mix_solver(m, table.pairs, given["geom_solref"], given["geom_solimp"])[part == "solimp"]
        pairs = torch.where(own, compiled[first:last], mixed)
        ids = torch.tensor(table.equalities, dtype=torch.int64, device=compiled.device)
        equalities = fields["eq"].index_select(-2, ids)
        others = compiled[rest:].expand(*batch, -1, -1)
        parts.append(torch.cat([fields["jnt"], fields["dof"], pairs, equalities, others], dim=-2))
    solimp = clamp_solimp(parts[1])
    return reference_coefficients(m, parts[0], solimp, given["timestep"]), solimp


def mix_solver(m: mujoco.MjModel, pairs: np.ndarray, solref: Tensor, solimp: Tensor) -> tuple[Tensor, Tensor]:
    """Solver parameters of pairs [npair, 2] from those of geoms: [..., npair, 2] and [..., npair, 5].

    A geom of higher priority gives its own; else they are mixed by solmix, or the smaller solref where one is direct.
    Source: MuJoCo documentation, Modeling, contact parameters.
    """
    first, second = pairs.T
    priority = m.geom_priority[first] - m.geom_priority[second]
    weight = np.where(priority == 0, solver_mix(m.geom_solmix[first], m.geom_solmix[second]), priority > 0)
    mix = torch.as_tensor(weight[:, None], dtype=solref.dtype, device=solref.device)
    equal = torch.as_tensor(priority[:, None] == 0, device=solref.device)
    solref1, solref2 = solref[..., first, :], solref[..., second, :]
    direct = equal & ((solref1[..., :1] <= 0) | (solref2[..., :1] <= 0))
    mixed = torch.where(direct, torch.minimum(solref1, solref2), mix * solref1 + (1 - mix) * solref2)
    return mixed, mix * solimp[..., first, :] + (1 - mix) * solimp[..., second, :]


def solver_mix(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Weight of the first geom's solver parameters; a geom with a solmix of almost zero has weight 0: [n]."""
    weighs1, weighs2 = first >= mujoco.mjMINVAL, second >= mujoco.mjMINVAL
    total = np.where(weighs1 & weighs2, first + second, 1)
    return np.where(weighs1 & weighs2, first / total, np.where(weighs1 == weighs2, 0.5, weighs1))


def clamp_solimp(solimp: Tensor) -> Tensor:
    """Impedance parameters clipped to MuJoCo's bounds: [..., 5] dmin, dmax, width, midpoint, power."""
    low, high = mujoco.mjMINIMP, mujoco.mjMAXIMP
    dmin, dmax, width, midpoint, power = solimp.unbind(-1)
    clipped = dmin.clamp(low, high), dmax.clamp(low, high), width.clamp(min=0), midpoint.clamp(low, high)
    return torch.stack([*clipped, power.clamp(min=1)], dim=-1)


def reference_coefficients(m: mujoco.MjModel, solref: Tensor, solimp: Tensor, timestep: Tensor) -> Tensor:
    """Stiffness k (times the impedance) and damping b of aref = -b J v - k d r, from solref: [..., 2] 1/s^2, 1/s.

    `solimp` is clipped to MuJoCo's bounds, `timestep` is [...] s.
    Source: MuJoCo documentation, Modeling, solver parameters; both forms of solref.
    """
    dmax = solimp[..., 1]
    first, ratio = solref.unbind(-1)
    standard = first > 0
    if not m.opt.disableflags & DISABLE.mjDSBL_REFSAFE:
        first = torch.where(standard, torch.maximum(first, 2 * timestep[..., None]), first)
    tiny = mujoco.mjMINVAL
    stiffness = torch.where(
        standard, 1 / (dmax**2 * first**2 * ratio**2).clamp(min=tiny), -first / (dmax**2).clamp(min=tiny)
    )
    damping = torch.where(standard, 2 / (dmax * first).clamp(min=tiny), -ratio / dmax.clamp(min=tiny))
    return torch.stack([stiffness, damping], dim=-1)
