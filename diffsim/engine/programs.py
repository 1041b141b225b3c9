"""Programs: sequences of stage kernels that one call of `Launch.run` launches. `Stages` has their stages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import warp as wp

from diffsim.physics.step import EvaluationPoints
from diffsim.types import mat33, real, vec3, vec6


@dataclass(frozen=True, eq=False)
class Program:
    """The arguments of a program: names and Warp types, inputs first.

    Arguments whose names end in _in or _out have one row per world.
    """

    arguments: dict[str, Any]


@dataclass(frozen=True, eq=False)
class Kernels:
    """Kernels that are launched one after the other, over the same worlds with the same working memory.

    Their arguments are known by name: those of one name are the same.
    """

    sequence: tuple[wp.Kernel, ...]


def arguments_of(program: Program | Kernels | wp.Kernel) -> dict[str, Any]:
    """Names and types of the arguments of a program, or of kernels that are launched on their own, inputs first."""
    if isinstance(program, Program):
        return program.arguments
    if isinstance(program, Kernels):
        together = {name: kind for kernel in program.sequence for name, kind in arguments_of(kernel).items()}
        return dict(sorted(together.items(), key=lambda item: item[0].endswith("_out")))
    return {argument.label: argument.type for argument in program.adj.args}


_rows = wp.array2d(dtype=real)
_wrenches = wp.array2d(dtype=vec6)
_INPUTS = {"state_in": _rows, "ctrl_in": _rows, "qfrc_applied_in": _rows}
_FORCES = {
    "qfrc_constraint_out": _rows,
    "qfrc_actuator_out": _rows,
    "cfrc_ext_out": _wrenches,
    "report_out": wp.array2d(dtype=wp.int32),
}
_CONTACTS = {
    "point": wp.array2d(dtype=vec3),
    "frame": wp.array2d(dtype=mat33),
    "distance": _rows,
    "force": _wrenches,
    "equality": _wrenches,
    "joint_limit": _rows,
    "tendon_limit": _rows,
}

STEP = Program(_INPUTS | {"num_steps": int, "trajectory_out": EvaluationPoints, "state_out": _rows} | _FORCES)
"""Advances each world by `num_steps` physics steps; the forces are those of the last evaluation.

The report holds the largest number of contacts and of solver iterations in any evaluation, and 1 if an input or a
result is not finite, or larger than mjMAXVAL.
"""

EVALUATE = Program(_INPUTS | {"qacc_out": _rows} | _FORCES)
"""Evaluates each world's dynamics once. The report is as in `STEP`."""

STEP_ADJOINT = Program(
    {
        "ctrl_in": _rows,
        "num_steps": int,
        "trajectory_in": EvaluationPoints,
        # cotangents: of the next state in the tangent space, and of the last evaluation
        "next_bar_in": _rows,
        "qpos_bar_in": _rows,
        "qvel_bar_in": _rows,
        "qacc_bar_in": _rows,
        "constraint_bar_in": _rows,
        "act_bar_in": _rows,
        "state_bar_out": _rows,
        "ctrl_bar_out": _rows,
        "qfrc_applied_bar_out": _rows,
    }
)
"""The adjoint of `STEP`; with `num_steps` 0, that of `EVALUATE`, and next_bar is ignored."""

PARAMETER_ADJOINT = Program(STEP_ADJOINT.arguments | {"parameter_bar_out": _rows})
"""`STEP_ADJOINT`, with the cotangent of the parameters."""

LINEARIZE = Program(
    {
        "ctrl_in": _rows,
        "num_steps": int,
        "trajectory_in": EvaluationPoints,
        # by state in the tangent space [world, 2 nv + na, 2 nv + na], by ctrl [world, 2 nv + na, nu]
        "state_jacobian_out": wp.array3d(dtype=real),
        "ctrl_jacobian_out": wp.array3d(dtype=real),
        # working memory: Jacobians of a step's evaluations, of `linearize.jacobian_shape`
        "evaluation_jacobian_out": wp.array4d(dtype=real),
    }
)
"""The Jacobian of `STEP`, from its trajectory."""

CONSTRAINT_FORCES = Program(
    {
        "inputs_in": _rows,
        "trajectory_in": EvaluationPoints,
        "count_out": wp.array2d(dtype=wp.int32),
        "pair_out": wp.array2d(dtype=wp.int32),
    }
    | {f"{name}_out": kind for name, kind in _CONTACTS.items()}
)
"""Contacts and forces at one evaluation point: see `constraint_forces.store_constraint_forces`."""

CONSTRAINT_FORCES_ADJOINT = Program(
    {"inputs_in": _rows, "trajectory_in": EvaluationPoints}
    | {f"{name}_bar_in": kind for name, kind in _CONTACTS.items()}
    | {f"{name}_bar_out": _rows for name in ("qpos", "qvel", "qacc", "inputs")}
)
"""The adjoint of `CONSTRAINT_FORCES`."""

CONSTRAINT_FORCES_PARAMETER_ADJOINT = Program(CONSTRAINT_FORCES_ADJOINT.arguments | {"parameter_bar_out": _rows})
"""`CONSTRAINT_FORCES_ADJOINT`, with the cotangent of the parameters."""
