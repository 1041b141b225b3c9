"""Checks of what the forward kernels report: contacts, bad inputs, and divergence."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import mujoco
import torch
from torch import Tensor

from diffsim.compile.model import POINT, Model
from diffsim.engine.checks import ContactOverflowError, active_checks, check_finite, current_suffix
from diffsim.engine.world_inputs import WorldInputs


class ReportChecks:
    """Checks of what the forward kernels report: contacts, solver iterations and whether there was a fault, [N, 3].

    Args:
        model: the kernels' model.
        stages: evaluations per time step.
        inputs: of the worlds.
        device: of the reports.
    """

    def __init__(self, model: Model, stages: int, inputs: WorldInputs, device: torch.device) -> None:
        self.model, self.stages, self.inputs = model, stages, inputs
        iterations = torch.iinfo(torch.int32).max
        self.limits = torch.tensor([model.max_contacts, iterations, 0], dtype=torch.int32, device=device)

    def check(
        self,
        report: Tensor,
        inputs: Sequence[Tensor],
        trajectory: Tensor | None,
        results: Sequence[Tensor],
        repeat: Callable[[], object],
    ) -> None:
        """Raises the error that a forward kernel reports, if any; or defers it, and sets results of faults to NaN.

        Args:
            report: [N, 3].
            inputs: state, rows of `WorldInputs`, and qfrc_applied.
            trajectory: evaluation points; None for an evaluation without a step.
            results: other results of the kernel, one row per world.
            repeat: makes the same call again, and so raises the error.
        """
        deferred = active_checks()
        if deferred is None:
            self._raise(report, inputs, trajectory)
            return
        failed = (report > self.limits).any(1)
        if not (failed.is_cuda or failed.any()):  # nothing to wait for on the CPU
            return
        for result in results if trajectory is None else (trajectory, *results):
            result.masked_fill_(failed.view(-1, *[1] * (result.dim() - 1)), math.nan)
        deferred.add(failed.any(), repeat)

    def _raise(self, report: Tensor, inputs: Sequence[Tensor], trajectory: Tensor | None) -> None:
        """Raises the error that a forward kernel reports, if any."""
        contacts, _, fault = report.amax(0).tolist()
        if fault:
            state, row, force = inputs
            parts = self.inputs.split(row)
            for name, value in {"state": state, **parts, "qfrc_applied": force}.items():
                check_finite(name, value)
            self._check_bounds(state, parts["ctrl"])
        if contacts > self.model.max_contacts:
            raise ContactOverflowError(contacts, self.model.max_contacts)
        if fault:
            self._raise_diverged(int(torch.nonzero(report[:, 2])[0]), trajectory)

    def _check_bounds(self, state: Tensor, ctrl: Tensor) -> None:
        """Raises ValueError if the state, or a control without range, is larger than C MuJoCo accepts."""
        mj_model = self.model.mj_model
        clamped = mj_model.actuator_ctrllimited * (
            not mj_model.opt.disableflags & mujoco.mjtDisableBit.mjDSBL_CLAMPCTRL
        )
        unclamped = torch.as_tensor(clamped == 0, device=ctrl.device)
        for name, value, does in (
            ("state", state, "resets the simulation"),
            ("ctrl", ctrl.where(unclamped, 0.0), "sets all controls to zero"),
        ):
            faults = torch.nonzero(value.abs() > mujoco.mjMAXVAL)
            if len(faults):
                world, index = faults[0].tolist()
                raise ValueError(
                    f"{name} must be at most {mujoco.mjMAXVAL:g} in size, beyond which MuJoCo {does}, "
                    f"got {value[world, index].item():g} at world {world}, index {index}{current_suffix()}"
                )

    def _raise_diverged(self, world: int, trajectory: Tensor | None) -> None:
        """Raises the error of a world, which names the first array that MuJoCo would not accept."""
        suffix = current_suffix()
        if trajectory is None:
            raise FloatingPointError(f"physics diverged: qacc is not finite in world {world}{suffix}")
        for slot, point in enumerate(trajectory[world]):
            limit = mujoco.mjMAXVAL if slot % self.stages == 0 else math.inf  # MuJoCo checks the first stage
            for name, value in zip(POINT, self.model.split_point(point), strict=True):
                if not (value.isfinite() & (value.abs() <= limit)).all():
                    raise FloatingPointError(
                        f"physics diverged: {name} {_fault(value)} in world {world} at time step "
                        f"{slot // self.stages}{suffix}"
                    )
        raise FloatingPointError(
            f"physics diverged: the next state is not finite, or larger than {mujoco.mjMAXVAL:g}, in world {world} at "
            f"time step {len(trajectory[world]) // self.stages - 1}{suffix}"
        )


def _fault(value: Tensor) -> str:
    """What is wrong with an array."""
    if not value.isfinite().all():
        return "is not finite"
    largest = value[value.abs().argmax()].item()
    return f"has {largest:g}, beyond {mujoco.mjMAXVAL:g}, where MuJoCo resets the simulation,"
