"""Kernel launches on torch tensors: memory, layouts, streams and errors; no autograd."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import Any

import torch
import warp as wp
from torch import Tensor

from diffsim.model import Model
from diffsim.physics.adjoint import evaluate_adjoint_kernel, from_tangent_kernel, step_adjoint_kernel, to_tangent_kernel
from diffsim.physics.scratch import make_scratch
from diffsim.physics.step import Trajectory, evaluate_kernel, step_kernel
from diffsim.types import dtype, real, vec6


class ContactOverflowError(RuntimeError):
    """More contacts at once than there is room for; none is dropped in silence."""

    def __init__(self, needed: int, limit: int) -> None:
        super().__init__(
            f"{needed} contacts at once, but room for {limit}: pass max_contacts={needed} or more to Model"
        )


class Launch:
    """Kernel launches for N worlds of a model: memory, layouts and streams.

    Args:
        model: what is simulated.
        num_worlds: N.
        device: where.
    """

    def __init__(self, model: Model, num_worlds: int, device: torch.device) -> None:
        self.model = model
        self.num_worlds = num_worlds
        self.device = device
        self.stages = 4 if model.integrator == "RK4" else 1
        self.arrays = model.arrays(num_worlds, str(device))
        self.scratch = make_scratch(model, num_worlds, str(device))
        self.gradient = False
        # Shared by copies: Newton iterations of the hardest evaluation of the last call, [N].
        self.iterations = [torch.zeros(num_worlds, dtype=torch.int32, device=device)]

    def with_parameters(self, vector: Tensor | None, gradient: bool = False) -> Launch:
        """The same worlds with other parameters (None: the model's own), and whether their gradient is wanted."""
        if vector is None:
            return self
        other = copy(self)
        other.arrays = self.model.arrays(self.num_worlds, str(self.device), vector)
        other.gradient = gradient
        other.arrays.parameter_gradient = int(gradient)
        return other

    def run(self, kernel: wp.Kernel, arguments: list[Any], scratch: bool = True) -> None:
        """Launches a kernel over worlds, on torch's stream. Tensors are passed as they are, strides and all."""
        inputs = [self.arrays, *([self.scratch] if scratch else [])]
        inputs += [as_warp(a) if isinstance(a, Tensor) else a for a in arguments]
        stream = wp.stream_from_torch(torch.cuda.current_stream(self.device)) if self.device.type == "cuda" else None
        wp.launch(kernel, dim=self.num_worlds, inputs=inputs, device=str(self.device), stream=stream)

    def step(self, state: Tensor, ctrl: Tensor, num_steps: int) -> tuple[Tensor, dict[str, Tensor], list[Tensor]]:
        """Next state, evaluation points and the last forces."""
        trajectory = self._new_trajectory(num_steps * self.stages)
        next_state = torch.empty_like(state, memory_format=torch.contiguous_format)
        forces = self._run_forward(step_kernel, [state, ctrl, num_steps, as_struct(trajectory), next_state])
        if not finite(next_state):
            self._raise_diverged(next_state, trajectory)
        return next_state, trajectory, forces

    def evaluate(self, state: Tensor, ctrl: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Accelerations and forces."""
        qacc = state.new_empty(self.num_worlds, self.model.nv)
        return qacc, self._run_forward(evaluate_kernel, [state, ctrl, qacc])

    def step_adjoint(
        self,
        ctrl: Tensor,
        num_steps: int,
        trajectory: dict[str, Tensor],
        next_bar: Tensor,
        evaluation_bar: Sequence[Tensor | None],
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Cotangents of state (tangent space), ctrl and parameters, from those of next state and last evaluation."""
        sizes = (self.model.nq, self.model.nv, self.model.nv, self.model.nv)
        zero = next_bar.new_zeros(1, 1)
        pairs = zip(evaluation_bar, sizes, strict=True)
        bars = [zero.expand(self.num_worlds, size) if bar is None else bar for bar, size in pairs]
        inputs = [ctrl, num_steps, as_struct(trajectory), next_bar, *bars]
        return self._run_adjoint(step_adjoint_kernel, inputs, ctrl)

    def evaluate_adjoint(
        self, state: Tensor, ctrl: Tensor, qacc: Tensor, bars: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Cotangents of state (tangent space), ctrl and parameters, from those of qacc and qfrc_constraint."""
        nq = self.model.nq
        point = {"qpos": state[:, None, :nq], "qvel": state[:, None, nq:], "qacc": qacc[:, None]}
        return self._run_adjoint(evaluate_adjoint_kernel, [ctrl, as_struct(point), *bars], ctrl)

    def to_tangent(self, state: Tensor, bar: Tensor) -> Tensor:
        """Cotangents of a state's coordinates in the tangent space."""
        if self.model.nq == self.model.nv:
            return bar
        tangent = bar.new_empty(self.num_worlds, 2 * self.model.nv)
        self.run(to_tangent_kernel, [state, bar, tangent], scratch=False)
        return tangent

    def from_tangent(self, state: Tensor, tangent: Tensor) -> Tensor:
        """The reverse: cotangents in the tangent space, of a state's coordinates."""
        if self.model.nq == self.model.nv:
            return tangent
        bar = torch.empty_like(state)
        self.run(from_tangent_kernel, [state, tangent, bar], scratch=False)
        return bar

    def _run_forward(self, kernel: wp.Kernel, arguments: list[Any]) -> list[Tensor]:
        """Adds outputs for qfrc_constraint, qfrc_actuator, cfrc_ext and the peaks, and returns the first three."""
        n, options = self.num_worlds, {"dtype": dtype, "device": self.device}
        forces = [torch.empty(n, self.model.nv, **options) for _ in range(2)]
        wrenches = torch.empty(n, self.model.mj_model.nbody, 6, **options)
        peaks = torch.empty(n, 2, dtype=torch.int32, device=self.device)
        self.run(kernel, [*arguments, *forces, as_warp(wrenches, vec6), as_warp(peaks, wp.int32)])
        self.iterations[0] = peaks[:, 1]
        if self.model.contacts_may_overflow and int(peaks[:, 0].max()) > self.model.max_contacts:
            raise ContactOverflowError(int(peaks[:, 0].max()), self.model.max_contacts)
        return [*forces, wrenches]

    def _run_adjoint(self, kernel: wp.Kernel, arguments: list[Any], ctrl: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Adds outputs for the cotangents of state, ctrl and parameters, and returns them."""
        state_bar = ctrl.new_empty(self.num_worlds, 2 * self.model.nv)
        ctrl_bar = torch.empty_like(ctrl, memory_format=torch.contiguous_format)
        size = self.model.parameters.size if self.gradient else 1
        parameter_bar = ctrl.new_empty(self.num_worlds, size)
        self.run(kernel, [*arguments, state_bar, ctrl_bar, parameter_bar])
        return state_bar, ctrl_bar, parameter_bar

    def _new_trajectory(self, slots: int) -> dict[str, Tensor]:
        """Memory for evaluation points: world-fastest on CUDA."""
        sizes = {"qpos": self.model.nq, "qvel": self.model.nv, "qacc": self.model.nv}
        if self.device.type == "cuda":
            shapes = {name: (slots, size, self.num_worlds) for name, size in sizes.items()}
            return {n: torch.empty(s, dtype=dtype, device=self.device).permute(2, 0, 1) for n, s in shapes.items()}
        return {name: torch.empty((self.num_worlds, slots, size), dtype=dtype) for name, size in sizes.items()}

    def _raise_diverged(self, next_state: Tensor, trajectory: dict[str, Tensor]) -> None:
        world = int(torch.nonzero(~torch.isfinite(next_state).all(dim=1))[0])
        for slot in range(trajectory["qpos"].shape[1]):
            for name in ("qpos", "qvel", "qacc"):
                if not finite(trajectory[name][world, slot]):
                    step = slot // self.stages
                    raise FloatingPointError(
                        f"physics diverged: {name} is not finite in world {world} at time step {step}"
                    )
        raise FloatingPointError(f"physics diverged: the next state is not finite in world {world}")


def finite(value: Tensor) -> bool:
    """Whether all entries are finite."""
    return bool(torch.isfinite(value.detach()).all())


def as_warp(value: Tensor, kind: type = real, descriptor: bool = True) -> Any:  # noqa: ANN401  (one of two types)
    """A tensor's memory for a kernel, without gradient: a bare descriptor, made in a third of a Warp array's time."""
    return wp.from_torch(value.detach(), dtype=kind, requires_grad=False, return_ctype=descriptor)


def as_struct(trajectory: dict[str, Tensor]) -> Any:  # noqa: ANN401  (a Warp struct instance)
    """Evaluation points as the struct that kernels take."""
    struct = Trajectory()
    for name, value in trajectory.items():
        setattr(struct, name, as_warp(value, descriptor=False))
    return struct
