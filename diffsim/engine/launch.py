"""Kernel launches on torch tensors: memory, layouts, threads, streams and errors; no autograd."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import Any, NamedTuple

import torch
import warp as wp
from torch import Tensor

from diffsim.compile.model import Model
from diffsim.engine.captured_launch import CapturedLaunch, torch_stream
from diffsim.physics.adjoint import evaluate_adjoint_kernel, from_tangent_kernel, step_adjoint_kernel, to_tangent_kernel
from diffsim.physics.scratch import make_scratch
from diffsim.physics.step import EvaluationPoints, evaluate_kernel, step_kernel
from diffsim.types import dtype

WORLDS_PER_THREAD = 8  # at least; for fewer, waking a thread costs more than it saves


class ContactOverflowError(RuntimeError):
    """More contacts at once than there is room for; none is dropped in silence."""

    def __init__(self, needed: int, limit: int) -> None:
        super().__init__(
            f"{needed} contacts at once, but room for {limit}: pass max_contacts={needed} or more to Model"
        )


class Forces(NamedTuple):
    """Of the last evaluation of a launch."""

    qfrc_constraint: Tensor  # [N, nv]
    qfrc_actuator: Tensor  # [N, nv]
    cfrc_ext: Tensor  # [N, nbody, 6]


class Launch:
    """Kernel launches for N worlds of a model.

    On the CPU the worlds are shared out among `torch.get_num_threads()` threads. Each launch is captured the first time
    and replayed from then on, except with parameters other than the model's own.

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
        self.scratches = [make_scratch(model, num_worlds, str(device))]  # one per thread
        self.captured: dict[tuple[Any, ...], CapturedLaunch] | None = {}
        self.gradient = False
        # Shared by copies: Newton iterations of the hardest evaluation of the last call, [N].
        self.iterations = [torch.zeros(num_worlds, dtype=torch.int32, device=device)]

    def with_parameters(self, vector: Tensor | None, gradient: bool = False) -> Launch:
        """The same worlds with other parameters (None: the model's own), and whether their gradient is wanted."""
        if vector is None:
            return self
        other = copy(self)
        other.arrays = self.model.arrays(self.num_worlds, str(self.device), vector)
        other.captured = None
        other.gradient = gradient
        other.arrays.parameter_gradient = int(gradient)
        return other

    def run(
        self, kernel: wp.Kernel, inputs: Sequence[Tensor | int], outputs: dict[str, tuple[int, ...]]
    ) -> list[Tensor]:
        """Launches a kernel over all worlds.

        Args:
            kernel: takes the model, working memory if it wants it, inputs and outputs. Arguments whose names end in
                _in or _out have one row per world.
            inputs: in its order; tensors may have any strides.
            outputs: names of its last arguments, and the shape of each for one world.

        Returns: the outputs.
        """
        values = [value.detach() if isinstance(value, Tensor) else value for value in inputs]
        if self.captured is None:
            made = self._new_outputs(kernel, outputs)
            everyone = slice(0, self.num_worlds)
            self._launch(kernel, [*values, *made], self.scratches[0], everyone, torch_stream(self.device))
            return made
        threads = self._threads()
        key = (kernel, threads, *(value.shape if isinstance(value, Tensor) else value for value in values))
        if key not in self.captured:
            self.captured[key] = self._capture(kernel, values, self._new_outputs(kernel, outputs), threads)
        return self.captured[key]([value for value in values if isinstance(value, Tensor)])

    def step(self, state: Tensor, ctrl: Tensor, num_steps: int) -> tuple[Tensor, Tensor, Forces]:
        """Next state, evaluation points [N, slots, nq + 2 nv] and the last forces; ctrl may end in applied forces."""
        nv = self.model.nv
        outputs = {
            "trajectory_out": (num_steps * self.stages, self.model.nq + 2 * nv),
            "state_out": (self.model.nq + nv,),
            **self._forces,
        }
        trajectory, next_state, *forces, report = self.run(step_kernel, [state, ctrl, num_steps], outputs)
        self._check(report, state, ctrl, trajectory)
        return next_state, trajectory, Forces(*forces)

    def evaluate(self, state: Tensor, ctrl: Tensor) -> tuple[Tensor, Forces]:
        """Accelerations and forces."""
        outputs = {"qacc_out": (self.model.nv,), **self._forces}
        qacc, *forces, report = self.run(evaluate_kernel, [state, ctrl], outputs)
        self._check(report, state, ctrl, None)
        return qacc, Forces(*forces)

    def step_adjoint(
        self,
        ctrl: Tensor,
        num_steps: int,
        trajectory: Tensor,
        next_bar: Tensor,
        evaluation_bar: Sequence[Tensor | None],
    ) -> list[Tensor]:
        """Cotangents of state (tangent space), ctrl and parameters, from those of next state and last evaluation."""
        sizes = (self.model.nq, self.model.nv, self.model.nv, self.model.nv)
        zero = next_bar.new_zeros(1, 1)
        pairs = zip(evaluation_bar, sizes, strict=True)
        bars = [zero.expand(self.num_worlds, size) if bar is None else bar for bar, size in pairs]
        return self.run(step_adjoint_kernel, [ctrl, num_steps, trajectory, next_bar, *bars], self._cotangents(ctrl))

    def evaluate_adjoint(self, state: Tensor, ctrl: Tensor, qacc: Tensor, bars: Sequence[Tensor]) -> list[Tensor]:
        """Cotangents of state (tangent space), ctrl and parameters, from those of qacc and qfrc_constraint."""
        point = torch.cat([state, qacc], dim=1)[:, None]
        return self.run(evaluate_adjoint_kernel, [ctrl, point, *bars], self._cotangents(ctrl))

    def to_tangent(self, state: Tensor, bar: Tensor) -> Tensor:
        """Cotangents of a state's coordinates in the tangent space."""
        if self.model.nq == self.model.nv:
            return bar
        return self.run(to_tangent_kernel, [state, bar], {"tangent_bar_out": (2 * self.model.nv,)})[0]

    def from_tangent(self, state: Tensor, tangent: Tensor) -> Tensor:
        """The reverse: cotangents in the tangent space, of a state's coordinates."""
        if self.model.nq == self.model.nv:
            return tangent
        return self.run(from_tangent_kernel, [state, tangent], {"raw_bar_out": (self.model.nq + self.model.nv,)})[0]

    @property
    def _forces(self) -> dict[str, tuple[int, ...]]:
        """Outputs of the forward kernels: forces, and each world's report."""
        nv, nbody = self.model.nv, self.model.mj_model.nbody
        return {
            "qfrc_constraint_out": (nv,),
            "qfrc_actuator_out": (nv,),
            "cfrc_ext_out": (nbody, 6),
            "report_out": (3,),
        }

    def _cotangents(self, ctrl: Tensor) -> dict[str, tuple[int, ...]]:
        """Outputs of the adjoint kernels."""
        return {
            "state_bar_out": (2 * self.model.nv,),
            "ctrl_bar_out": (ctrl.shape[1],),
            "parameter_bar_out": (self.model.parameters.size if self.gradient else 1,),
        }

    def _check(self, report: Tensor, state: Tensor, ctrl: Tensor, trajectory: Tensor | None) -> None:
        """Raises what a forward kernel reports."""
        contacts, _, fault = report.amax(0).tolist()
        self.iterations[0] = report[:, 1]
        if fault:
            nu = self.model.nu
            for name, value in (("state", state), ("ctrl", ctrl[:, :nu]), ("qfrc_applied", ctrl[:, nu:])):
                check_finite(name, value)
        if contacts > self.model.max_contacts:
            raise ContactOverflowError(contacts, self.model.max_contacts)
        if fault and trajectory is not None:
            self._raise_diverged(report[:, 2], trajectory)

    def _raise_diverged(self, fault: Tensor, trajectory: Tensor) -> None:
        world = int(torch.nonzero(fault)[0])
        sizes = [self.model.nq, self.model.nv, self.model.nv]
        for slot, point in enumerate(trajectory[world]):
            for name, value in zip(("qpos", "qvel", "qacc"), point.split(sizes), strict=True):
                if not value.isfinite().all():
                    step = slot // self.stages
                    raise FloatingPointError(
                        f"physics diverged: {name} is not finite in world {world} at time step {step}"
                    )
        raise FloatingPointError(f"physics diverged: the next state is not finite in world {world}")

    def _threads(self) -> int:
        """Threads to share the worlds among."""
        if self.device.type == "cuda":
            return 1
        return max(1, min(torch.get_num_threads(), self.num_worlds // WORLDS_PER_THREAD))

    def _capture(
        self, kernel: wp.Kernel, inputs: Sequence[Tensor | int], outputs: list[Tensor], threads: int
    ) -> CapturedLaunch:
        """Captures a kernel's launch on copies of the inputs, one share of the worlds per thread."""
        while len(self.scratches) < threads:
            self.scratches.append(make_scratch(self.model, self.num_worlds, str(self.device)))
        arguments = [*(value.clone() if isinstance(value, Tensor) else value for value in inputs), *outputs]
        bounds = [self.num_worlds * share // threads for share in range(threads + 1)]
        launches = [
            lambda worlds=slice(*ends), scratch=scratch: self._launch(kernel, arguments, scratch, worlds)
            for ends, scratch in zip(zip(bounds[:-1], bounds[1:], strict=True), self.scratches, strict=False)
        ]
        copies = [value for value in arguments[: len(inputs)] if isinstance(value, Tensor)]
        return CapturedLaunch(launches, copies, outputs, self.device)

    def _launch(
        self,
        kernel: wp.Kernel,
        values: Sequence[Tensor | int],
        scratch: Any,  # noqa: ANN401  (a Warp struct instance)
        worlds: slice,
        stream: wp.Stream | None = None,
    ) -> None:
        """Launches a kernel on some of the worlds; on Warp's own stream if None."""
        parameters = kernel.adj.args
        inputs = [self.arrays, scratch][: len(parameters) - len(values)]
        for parameter, value in zip(parameters[len(inputs) :], values, strict=True):
            if isinstance(value, Tensor):
                rows = value[worlds] if parameter.label.endswith(("_in", "_out")) else value
                inputs.append(
                    self._points(rows) if parameter.type is EvaluationPoints else as_warp(rows, parameter.type)
                )
            else:
                inputs.append(value)
        wp.launch(kernel, dim=worlds.stop - worlds.start, inputs=inputs, device=str(self.device), stream=stream)

    def _points(self, trajectory: Tensor) -> Any:  # noqa: ANN401  (a Warp struct instance)
        """DynamicsPoint points [N, slots, nq + 2 nv] as the struct that kernels take."""
        struct = EvaluationPoints()
        parts = trajectory.split([self.model.nq, self.model.nv, self.model.nv], dim=2)
        for name, part in zip(("qpos", "qvel", "qacc"), parts, strict=True):
            setattr(struct, name, wp.from_torch(part, requires_grad=False))
        return struct

    def _new_outputs(self, kernel: wp.Kernel, shapes: dict[str, tuple[int, ...]]) -> list[Tensor]:
        """Memory for a kernel's outputs; trajectories are world-fastest on CUDA."""
        types = {parameter.label: parameter.type for parameter in kernel.adj.args}
        made = []
        for name, shape in shapes.items():
            kind = getattr(types[name], "dtype", None)
            options = {"dtype": torch.int32 if kind is wp.int32 else dtype, "device": self.device}
            if types[name] is EvaluationPoints and self.device.type == "cuda":
                made.append(torch.empty((*shape, self.num_worlds), **options).permute(2, 0, 1))
            else:
                made.append(torch.empty((self.num_worlds, *shape), **options))
        return made


def check_finite(name: str, value: Tensor) -> None:
    """Raises ValueError if an entry of `value` [N, size] is not finite."""
    faults = torch.nonzero(~torch.isfinite(value.detach()))
    if len(faults):
        world, index = faults[0].tolist()
        raise ValueError(f"{name} must be finite, got {value[world, index].item()} at world {world}, index {index}")


def as_warp(value: Tensor, kind: wp.array) -> wp.array:
    """A tensor's memory as the array that a kernel's argument asks for, without gradient."""
    return wp.from_torch(value, dtype=kind.dtype, requires_grad=False)
