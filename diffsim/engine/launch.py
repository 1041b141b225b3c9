"""Kernel launches on torch tensors: memory, layouts, threads, streams and errors. No autograd."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import copy
from functools import partial
from typing import Any, NamedTuple

import torch
import warp as wp
from torch import Tensor

from diffsim.compile.model import POINT, Model
from diffsim.compile.parameter_memory import ParameterMemory
from diffsim.engine.captured_launch import CapturedLaunch, Replay, capture, capturing, torch_stream
from diffsim.engine.checks import ContactOverflowError as ContactOverflowError  # its place in earlier versions
from diffsim.engine.compilation import prepare
from diffsim.engine.programs import (
    CONSTRAINT_FORCES,
    CONSTRAINT_FORCES_ADJOINT,
    CONSTRAINT_FORCES_PARAMETER_ADJOINT,
    EVALUATE,
    LINEARIZE,
    PARAMETER_ADJOINT,
    STEP,
    STEP_ADJOINT,
    Kernels,
    Program,
    arguments_of,
)
from diffsim.engine.report_checks import ReportChecks
from diffsim.engine.stages import Stages, lanes_of, launch_lanes
from diffsim.engine.world_inputs import WorldInputs
from diffsim.engine.world_loop import WorldLoop
from diffsim.physics.lanes import EMULATED
from diffsim.physics.linearize import jacobian_shape
from diffsim.physics.scratch import make_scratch
from diffsim.physics.step import EvaluationPoints
from diffsim.physics.tangent import from_tangent_kernel, to_tangent_kernel
from diffsim.types import dtype, kernel_dtype

ADJOINT_WORLDS = 8192
"""Number of worlds of the adjoint launches that make Jacobians on CUDA."""
WORLDS_PER_THREAD = 8  # minimum; with fewer worlds, starting a thread costs more than it saves
# Outputs that stay in the kernels' precision. The adjoint computes constraint forces from stored accelerations; rounded
# to float32 these would lose the forces of stiff contacts.
EXACT = ("trajectory_out", "qacc_out", "parameter_bar_out")


ADJOINTS = (STEP_ADJOINT, PARAMETER_ADJOINT, CONSTRAINT_FORCES_ADJOINT, CONSTRAINT_FORCES_PARAMETER_ADJOINT)


class Forces(NamedTuple):
    """Forces of the last evaluation of a launch, and a diagnostic of all its evaluations."""

    qfrc_constraint: Tensor  # [N, nv]
    qfrc_actuator: Tensor  # [N, nv]
    cfrc_ext: Tensor  # [N, nbody, 6]
    solver_iterations: Tensor  # [N] int32, largest number of Newton iterations in an evaluation


class Launch:
    """Kernel launches for N worlds of a model.

    Tensors are converted to the kernels' precision and back. On the CPU, `torch.get_num_threads()` threads share the
    worlds. The first launch of a program is recorded, and later ones replay it.

    Args:
        model: the model.
        num_worlds: N.
        device: the device of all tensors.
        memory: parameters; None for the model's own.
        gradient: whether the adjoints compute the gradient of the parameters.
        scratches: working memory, one per thread, to share with another instance; None to allocate it.

    Attributes:
        exact: whether results are in the kernels' precision, not in `dtype`.
    """

    def __init__(
        self,
        model: Model,
        num_worlds: int,
        device: torch.device,
        memory: ParameterMemory | None = None,
        gradient: bool = False,
        scratches: list[Any] | None = None,
    ) -> None:
        self.model = model
        self.num_worlds = num_worlds
        self.device = device
        self.stages = 4 if model.integrator == "RK4" else 1
        self.memory = memory
        self.vector: Tensor | None = None
        self.arrays = {0: model.arrays(str(device), memory, 0, gradient)}
        self.gradient = gradient
        self.looped = device.type == "cpu" and not EMULATED
        self.scratches = scratches or [self._make_scratch()]
        self.captured: dict[tuple[Any, ...], CapturedLaunch] | None = None if EMULATED else {}
        self.varied: dict[tuple[bool, bool], Launch] = {}
        self.parts: dict[int, Launch] = {}
        self.prepared: set[Program] = set()
        self.inputs = WorldInputs(model.mj_model, num_worlds, device)
        self.checks = ReportChecks(model, self.stages, self.inputs, device)
        self.exact = False

    def _make_scratch(self) -> Any:  # noqa: ANN401  (a Warp struct instance)
        """Working memory: for all worlds, but with a `WorldLoop` for the one that its thread works on."""
        return make_scratch(self.model.sizes, self.num_worlds, str(self.device), shared=self.looped)

    def with_parameters(self, vector: Tensor | None, gradient: bool = False) -> Launch:
        """Launches for the same worlds, in the same working memory, with other parameters.

        Args:
            vector: parameters [size] or [N, size] of `Parameters.vector`; None for the model's own.
            gradient: whether the adjoints compute their gradient.
        """
        if vector is None:
            return self
        key = vector.ndim == 2, gradient
        if key not in self.varied:
            memory = ParameterMemory(self.model.parameters, self.num_worlds if key[0] else None, str(self.device))
            self.varied[key] = Launch(self.model, self.num_worlds, self.device, memory, gradient, self.scratches)
        launch = copy(self.varied[key])
        launch.vector, launch.exact = vector, self.exact
        return launch

    def in_kernel_precision(self) -> Launch:
        """The same launches, with results in the kernels' precision."""
        launch = copy(self)
        launch.exact = True
        return launch

    def run(
        self,
        program: Program | Kernels | wp.Kernel,
        inputs: Sequence[Tensor | int],
        outputs: dict[str, tuple[int, ...]],
        memory: dict[str, tuple[int, ...]] | None = None,
    ) -> list[Tensor]:
        """Launches a program, or one kernel, over all worlds.

        Args:
            program: its arguments are, of a kernel, the model and optionally the working memory, then inputs, outputs
                and memory of its own. Arguments whose names end in _in or _out have one row per world.
            inputs: in the program's order; tensors may have any strides.
            outputs: names of the program's next arguments, and the shape of each for one world.
            memory: likewise, of its last arguments, which are not returned.

        Returns: the outputs, in `dtype` but for those in `EXACT`; all in the kernels' precision if `exact`.
        """
        values = [value.detach() if isinstance(value, Tensor) else value for value in inputs]
        shapes = outputs | (memory or {})
        if self.memory is not None and self.vector is not None:
            self.memory.load(self.vector)
        if self.captured is None or capturing(self.device):
            results = self._new_outputs(program, shapes)
            worlds = slice(0, self.num_worlds)
            arguments = [*map(in_kernel_precision, values), *results]
            self._launch(program, arguments, self.scratches[0], worlds, torch_stream(self.device))
            return [result.to(kind) for result, kind in zip(results, self._types(outputs, results), strict=False)]
        threads = self._threads()
        key = (program, threads, *(value.shape if isinstance(value, Tensor) else value for value in values))
        if key not in self.captured:
            self.captured[key] = self._capture(program, values, shapes, threads)
        launch = self.captured[key]
        return launch([value for value in values if isinstance(value, Tensor)], self._types(outputs, launch.outputs))

    def step(self, state: Tensor, ctrl: Tensor, qfrc_applied: Tensor, num_steps: int) -> tuple[Tensor, Tensor, Forces]:
        """Next state, evaluation points [N, slots, state_size + qacc_size] in `kernel_dtype`, the last one's forces.

        A point has the parts of `Model.split_point`.
        """
        outputs = {
            "trajectory_out": (num_steps * self.stages, self.model.state_size + self.model.qacc_size),
            "state_out": (self.model.state_size,),
            **self._forces,
        }
        inputs = [value.detach() for value in (state, ctrl, qfrc_applied)]
        trajectory, next_state, *forces, report = self.run(STEP, [*inputs, num_steps], outputs)
        repeat = partial(self.step, *inputs, num_steps)
        self.checks.check(report, inputs, trajectory, [next_state, *forces], repeat)
        return next_state, trajectory, Forces(*forces, solver_iterations=report[:, 1])

    def evaluate(self, state: Tensor, ctrl: Tensor, qfrc_applied: Tensor) -> tuple[Tensor, Forces]:
        """Accelerations [N, qacc_size] in `kernel_dtype` (see `Model.qacc_size`), and forces."""
        outputs = {"qacc_out": (self.model.qacc_size,), **self._forces}
        inputs = [value.detach() for value in (state, ctrl, qfrc_applied)]
        qacc, *forces, report = self.run(EVALUATE, inputs, outputs)
        self.checks.check(report, inputs, None, [qacc, *forces], partial(self.evaluate, *inputs))
        return qacc, Forces(*forces, solver_iterations=report[:, 1])

    def step_adjoint(
        self,
        ctrl: Tensor,
        num_steps: int,
        trajectory: Tensor,
        next_bar: Tensor,
        evaluation_bar: Sequence[Tensor | None],
    ) -> list[Tensor]:
        """Cotangents of state (tangent space), ctrl, qfrc_applied, and with `gradient` of parameters (`kernel_dtype`).

        Args:
            ctrl: rows of all inputs (see `WorldInputs`), as in all launches.
            num_steps: as in `step`; 0 for the adjoint of one evaluation, which ignores `next_bar`.
            trajectory: from `step`.
            next_bar: cotangents of the next state in the tangent space.
            evaluation_bar: cotangents of qpos, qvel, qacc, qfrc_constraint and act of the last evaluation; None for
                zero. That of qacc may be [N, nv] or [N, qacc_size].
        """
        sizes = (self.model.nq, self.model.nv, self.model.qacc_size, self.model.nv, self.model.na)
        zero = next_bar.new_zeros(1, 1)
        pairs = zip(evaluation_bar, sizes, strict=True)
        bars = [zero.expand(self.num_worlds, size) if bar is None else padded(bar, size) for bar, size in pairs]
        program = PARAMETER_ADJOINT if self.gradient else STEP_ADJOINT
        return self.run(program, [ctrl, num_steps, trajectory, next_bar, *bars], self._cotangents(ctrl.shape[1]))

    def linearize(self, ctrl: Tensor, num_steps: int, trajectory: Tensor) -> list[Tensor]:
        """Jacobians of the next state by state [N, T, T] and ctrl [N, T, nu], T = 2 nv + na; see `step_adjoint`."""
        size, nu = self.model.tangent_size, self.model.nu
        if not self.looped or self.model.field("nservo"):
            return self._linearize_by_adjoint(ctrl, num_steps, trajectory)
        outputs = {"state_jacobian_out": (size, size), "ctrl_jacobian_out": (size, nu)}
        memory = {"evaluation_jacobian_out": jacobian_shape(self.stages, self.model.nv, nu, self.model.na)}
        return self.run(LINEARIZE, [ctrl, num_steps, trajectory], outputs, memory)

    def _linearize_by_adjoint(self, ctrl: Tensor, num_steps: int, trajectory: Tensor) -> list[Tensor]:
        """`linearize`, by the adjoint of every component of the next state, each in worlds of its own."""
        count = max(1, ADJOINT_WORLDS // self.num_worlds)
        units = torch.eye(self.model.tangent_size, dtype=kernel_dtype, device=self.device)
        parts = []
        for unit in units.split(count):
            rows, worlds = len(unit), len(unit) * self.num_worlds
            if worlds not in self.parts:
                self.parts[worlds] = Launch(self.model, worlds, self.device)
                self.parts[worlds].exact = self.exact
            vector = None if self.vector is None else self._repeat(self.vector.expand(self.num_worlds, -1), rows)
            inputs = self._repeat(ctrl, rows), num_steps, self._repeat(trajectory, rows)
            state_bar, ctrl_bar, *_ = (
                self.parts[worlds]
                .with_parameters(vector)
                .step_adjoint(*inputs, unit.repeat(self.num_worlds, 1), [None] * 5)
            )
            parts.append([bar.unflatten(0, (self.num_worlds, rows)) for bar in (state_bar, ctrl_bar)])
        by_state, by_inputs = (torch.cat(bars, dim=1) for bars in zip(*parts, strict=True))
        return [by_state, by_inputs[..., : self.model.nu]]

    @staticmethod
    def _repeat(value: Tensor, times: int) -> Tensor:
        """Repeats each world."""
        return value.repeat_interleave(times, dim=0)

    def evaluate_adjoint(
        self, state: Tensor, ctrl: Tensor, qacc: Tensor, bars: Sequence[Tensor | None]
    ) -> list[Tensor]:
        """Cotangents as in `step_adjoint`, given those of qacc and qfrc_constraint; None for zero."""
        point = self._point(state, qacc)
        next_bar = point.new_zeros(1, 1).expand(self.num_worlds, self.model.tangent_size)
        return self.step_adjoint(ctrl, 0, point, next_bar, [None, None, *bars, None])

    def constraint_forces(self, state: Tensor, inputs: Tensor, qacc: Tensor) -> list[Tensor]:
        """Contacts and forces at a state with its accelerations [N, qacc_size]: see `programs.CONSTRAINT_FORCES`."""
        outputs = {"count_out": (1,), "pair_out": (self.model.max_contacts,)}
        outputs |= {f"{name}_out": shape for name, shape in self._constraint_forces.items()}
        return self.run(CONSTRAINT_FORCES, [inputs, self._point(state, qacc)], outputs)

    def constraint_forces_adjoint(
        self, state: Tensor, inputs: Tensor, qacc: Tensor, bars: Sequence[Tensor | None]
    ) -> list[Tensor]:
        """Cotangents of qpos, qvel, the last nv of qacc, inputs, and with `gradient` of parameters.

        Given are those of the outputs, None for zero.
        """
        pairs = zip(bars, self._constraint_forces.values(), strict=True)
        full = [state.new_zeros(len(state), *shape) if bar is None else bar.contiguous() for bar, shape in pairs]
        nq, nv = self.model.nq, self.model.nv
        outputs = {"qpos_bar_out": (nq,), "qvel_bar_out": (nv,), "qacc_bar_out": (nv,)}
        outputs["inputs_bar_out"] = (inputs.shape[1],)
        arguments = [inputs, self._point(state, qacc), *full]
        if not self.gradient:
            return self.run(CONSTRAINT_FORCES_ADJOINT, arguments, outputs)
        outputs["parameter_bar_out"] = (self.model.parameters.size,)
        return self.run(CONSTRAINT_FORCES_PARAMETER_ADJOINT, arguments, outputs)

    def _point(self, state: Tensor, qacc: Tensor) -> Tensor:
        """One evaluation point, as in a trajectory: [N, 1, state_size + qacc_size]."""
        return torch.cat([state.to(kernel_dtype), qacc], dim=1)[:, None]

    @property
    def _constraint_forces(self) -> dict[str, tuple[int, ...]]:
        """Differentiable outputs of `constraint_forces`."""
        contacts = self.model.max_contacts
        return {
            "point": (contacts, 3),
            "frame": (contacts, 3, 3),
            "distance": (contacts,),
            "force": (contacts, 6),
            "equality": (self.model.field("neq"), 6),
            "joint_limit": (self.model.mj_model.njnt,),
            "tendon_limit": (self.model.field("ntendon"),),
        }

    def to_tangent(self, state: Tensor, bar: Tensor) -> Tensor:
        """Converts cotangents of a state's coordinates to the tangent space."""
        if self.model.nq == self.model.nv:
            return bar
        return self.run(to_tangent_kernel, [state, bar], {"tangent_bar_out": (self.model.tangent_size,)})[0]

    def from_tangent(self, state: Tensor, tangent: Tensor) -> Tensor:
        """Converts cotangents in the tangent space to a state's coordinates."""
        if self.model.nq == self.model.nv:
            return tangent
        return self.run(from_tangent_kernel, [state, tangent], {"raw_bar_out": (self.model.state_size,)})[0]

    @property
    def _forces(self) -> dict[str, tuple[int, ...]]:
        """Outputs of both forward programs: forces, and each world's report."""
        nv, nbody = self.model.nv, self.model.mj_model.nbody
        return {
            "qfrc_constraint_out": (nv,),
            "qfrc_actuator_out": (nv,),
            "cfrc_ext_out": (nbody, 6),
            "report_out": (3,),
        }

    def _cotangents(self, num_inputs: int) -> dict[str, tuple[int, ...]]:
        """Outputs of the adjoint."""
        parameters = {"parameter_bar_out": (self.model.parameters.size,)} if self.gradient else {}
        return {
            "state_bar_out": (self.model.tangent_size,),
            "ctrl_bar_out": (num_inputs,),
            "qfrc_applied_bar_out": (self.model.nv,),
            **parameters,
        }

    def _threads(self) -> int:
        """Number of threads that share the worlds."""
        if not self.looped:
            return 1
        return max(1, min(torch.get_num_threads(), self.num_worlds // WORLDS_PER_THREAD))

    def _capture(
        self,
        program: Program | Kernels | wp.Kernel,
        inputs: Sequence[Tensor | int],
        shapes: dict[str, tuple[int, ...]],
        threads: int,
    ) -> CapturedLaunch:
        """Records a launch on copies of the inputs, with a share of the worlds per thread."""
        while len(self.scratches) < threads:
            self.scratches.append(self._make_scratch())
        outputs = self._new_outputs(program, shapes)
        copies = [in_kernel_precision(value, copy=True) for value in inputs]
        arguments = [*copies, *outputs]
        bounds = [self.num_worlds * share // threads for share in range(threads + 1)]
        replays = [
            self._record(program, arguments, scratch, slice(*ends))
            for ends, scratch in zip(zip(bounds[:-1], bounds[1:], strict=True), self.scratches, strict=False)
        ]
        return CapturedLaunch(replays, [value for value in copies if isinstance(value, Tensor)], outputs)

    def _record(
        self,
        program: Program | Kernels | wp.Kernel,
        arguments: Sequence[Tensor | int],
        scratch: Any,  # noqa: ANN401  (a Warp struct instance)
        worlds: slice,
    ) -> Replay:
        """A launch on some of the worlds, to be repeated."""
        if self.looped and not isinstance(program, wp.Kernel):
            return self._loop(program, arguments, scratch, worlds)
        return capture(lambda: self._launch(program, arguments, scratch, worlds), self.device)

    def _types(self, names: Iterable[str], outputs: Sequence[Tensor]) -> list[torch.dtype]:
        """Types in which `run` returns a kernel's outputs."""
        return [
            output.dtype if self.exact or name in EXACT or not output.is_floating_point() else dtype
            for name, output in zip(names, outputs, strict=False)
        ]

    def _loop(
        self,
        program: Program | Kernels,
        arguments: Sequence[Tensor | int],
        scratch: Any,  # noqa: ANN401  (a Warp struct instance)
        worlds: slice,
    ) -> WorldLoop:
        """A program's stages, for one after the other of some of the worlds."""
        loop = WorldLoop(worlds.start, worlds.stop)
        self._stage(program, self._inputs(program, arguments), scratch, None, loop)
        return loop

    def _launch(
        self,
        program: Program | Kernels | wp.Kernel,
        values: Sequence[Tensor | int],
        scratch: Any,  # noqa: ANN401  (a Warp struct instance)
        worlds: slice,
        stream: wp.Stream | None = None,
    ) -> None:
        """Launches a program over all worlds, or a kernel over some. With `stream` None, uses Warp's own stream."""
        if not isinstance(program, wp.Kernel):
            if self.looped:
                self._loop(program, values, scratch, worlds)()
            else:
                self._stage(program, self._inputs(program, values), scratch, stream, None)
            return
        if worlds.start not in self.arrays:
            self.arrays[worlds.start] = self.model.arrays(str(self.device), self.memory, worlds.start, self.gradient)
        given = {"m": self.arrays[worlds.start], "s": scratch}
        own = [value for name, value in given.items() if name in arguments_of(program)]
        inputs = own + self._inputs(program, values, worlds)
        count = worlds.stop - worlds.start
        launch_lanes(program, inputs, count, lanes_of(self.model), str(self.device), stream)

    def _inputs(
        self, program: Program | Kernels | wp.Kernel, values: Sequence[Tensor | int], worlds: slice | None = None
    ) -> list[Any]:
        """The arguments of a program, or those of a kernel after the model and the working memory, for some worlds."""
        kinds = {name: kind for name, kind in arguments_of(program).items() if name not in ("m", "s")}
        inputs = []
        for (name, kind), value in zip(kinds.items(), values, strict=True):
            if isinstance(value, Tensor):
                rows = value[worlds] if worlds and name.endswith(("_in", "_out")) else value
                value = self._points(rows) if kind is EvaluationPoints else as_warp(rows, kind)
            inputs.append(value)
        return inputs

    def _stage(
        self,
        program: Program | Kernels,
        inputs: Sequence[Any],
        scratch: Any,  # noqa: ANN401  (a Warp struct instance)
        stream: wp.Stream | None,
        loop: WorldLoop | None,
    ) -> None:
        """Launches the stages of a program, or adds them to a loop over worlds."""
        if isinstance(program, Program):
            self._prepare(program)
        stages = Stages(self.model, self.arrays[0], scratch, self.num_worlds, str(self.device), stream, loop)
        if isinstance(program, Kernels):
            stages.kernels(program, inputs)
            return
        programs = {
            STEP: stages.step,
            EVALUATE: stages.evaluate,
            STEP_ADJOINT: stages.step_adjoint,
            PARAMETER_ADJOINT: stages.step_adjoint,
            LINEARIZE: stages.linearize,
            CONSTRAINT_FORCES: stages.forces,
            CONSTRAINT_FORCES_ADJOINT: stages.forces_adjoint,
            CONSTRAINT_FORCES_PARAMETER_ADJOINT: stages.forces_adjoint,
        }
        programs[program](*inputs)

    def _prepare(self, program: Program) -> None:
        """Compiles the stages of a program before its first launch."""
        if program not in self.prepared and not EMULATED:
            adjoint = program in ADJOINTS
            prepare(self.model, str(self.device), adjoint, self.gradient)
            self.prepared.add(program)

    def _points(self, trajectory: Tensor) -> Any:  # noqa: ANN401  (a Warp struct instance)
        """Converts evaluation points [N, slots, state_size + qacc_size] to the kernels' struct."""
        struct = EvaluationPoints()
        for name, part in zip(POINT, self.model.split_point(trajectory), strict=True):
            setattr(struct, name, wp.from_torch(part, requires_grad=False))
        return struct

    def _new_outputs(self, program: Program | Kernels | wp.Kernel, shapes: dict[str, tuple[int, ...]]) -> list[Tensor]:
        """Memory for a program's outputs."""
        types = arguments_of(program)
        outputs = []
        for name, shape in shapes.items():
            kind = getattr(types[name], "dtype", None)
            options = {"dtype": torch.int32 if kind is wp.int32 else kernel_dtype, "device": self.device}
            outputs.append(torch.empty((self.num_worlds, *shape), **options))
        return outputs


def in_kernel_precision(value: Any, copy: bool = False) -> Any:  # noqa: ANN401
    """A tensor of floats in the kernels' precision; other values as they are, and other tensors copied if `copy`."""
    if not isinstance(value, Tensor):
        return value
    return value.to(kernel_dtype if value.is_floating_point() else value.dtype, copy=copy)


def padded(value: Tensor, size: int) -> Tensor:
    """Adds columns of zeros to a tensor, up to `size`."""
    missing = size - value.shape[1]
    return value if not missing else torch.cat([value, value.new_zeros(1, 1).expand(len(value), missing)], dim=1)


def as_warp(value: Tensor, kind: wp.array) -> wp.array:
    """A tensor's memory as the array type of a kernel's argument, without gradient."""
    return wp.from_torch(value, dtype=kind.dtype, requires_grad=False)
