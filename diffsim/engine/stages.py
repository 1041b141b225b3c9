"""Programs as sequences of stage kernels: one order of stages for the CPU and for CUDA.

    forward, for each evaluation:   frames, motion, mass, forces, collide (per kinds of geoms), rows, solve, advance
    adjoint, for each evaluation:   frames, motion, mass, collide, rows, virtual, twists, for some models ellipsoids,
                                    collide_gradient, gather, elements, on request parameters

Pairs of convex geoms without a collider of their own share the stages `convex` and `convex_gradient`. Those
with a height field have `height_fields` in place of the first.

Rare features have stages of their own: `joined` of connect and weld constraints, `lines` of spatial tendons and moving
transmissions, `servos` of PID controllers and DC motors, `contact_terms` of adhesion and actuators on a body's
contacts, whose forces come after the contacts, `implicit` and `implicit_adjoint` of implicit velocity steps, `noslip`
of that solver. A model launches, and so compiles, only the stages that it needs: `compilation.modules_of` lists them.
They compile in seconds each, side by side. Alternatives were one kernel per launch, which takes minutes to compile and
on CUDA 255 registers, and a kernel per element, which needs some thousand launches per step.

The CPU runs all stages for one world, then for the next (`world_loop`). Those between contacts run in one kernel each
unless a rare stage is between them: `smooth`, `respond`, `point`, `power`, `collect`. CUDA runs each stage for all
worlds, with several lanes per world, and captures the sequence as one graph.

On CUDA, between the stages, the working memory is in global memory. A stage of Humanoid touches at most 9 kB of it per
world.
Shared memory is not used by hand: it is the same hardware as the multiprocessor's cache, and a copy there of the 64
worlds that can be in flight would not fit.

Expected on an H200 with 4,096 worlds, not measured: 1.57 million physics steps of Humanoid per second, forward and
adjoint; 2.51 of Ant. `benchmarks/results/cuda_model` has the counts and assumptions behind this, and
`benchmarks/results/cuda_compile` the measured registers and compile times.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import warp as wp

from diffsim.compile.model import THREADS, Model
from diffsim.engine.lane_emulation import emulation
from diffsim.engine.programs import Kernels, arguments_of
from diffsim.engine.world_loop import WorldLoop
from diffsim.physics.lanes import EMULATED, WORLDS_PER_BLOCK
from diffsim.physics.step import EvaluationPoints
from diffsim.stages.advance import advance_kernel
from diffsim.stages.bounds import LARGEST_BLOCK
from diffsim.stages.collect import collect_kernel
from diffsim.stages.collide import detection_kernel, gradient_kernel
from diffsim.stages.contact_terms import (
    adhesion_kernel,
    clear_contact_bars_kernel,
    contact_terms_kernel,
    friction_reference_kernel,
)
from diffsim.stages.convex import convex_kernel
from diffsim.stages.convex_gradient import convex_gradient_kernel
from diffsim.stages.cotangents import (
    begin_adjoint_kernel,
    begin_slot_kernel,
    end_adjoint_kernel,
    end_slot_kernel,
    velocity_adjoint_kernel,
)
from diffsim.stages.elements import elements_kernel
from diffsim.stages.ellipsoids import ellipsoids_kernel
from diffsim.stages.forces import forces_kernel
from diffsim.stages.frames import frames_kernel
from diffsim.stages.gather import add_contacts_kernel, gather_kernel
from diffsim.stages.height_fields import height_fields_kernel
from diffsim.stages.implicit import implicit_kernel
from diffsim.stages.implicit_adjoint import implicit_adjoint_kernel
from diffsim.stages.implicit_bias import implicit_bias_kernel
from diffsim.stages.implicit_fluid import implicit_fluid_kernel
from diffsim.stages.implicit_forces import implicit_forces_kernel
from diffsim.stages.implicit_lines import implicit_lines_kernel
from diffsim.stages.joined import joined_kernel
from diffsim.stages.linearize import (
    begin_linearize_kernel,
    factor_kernel,
    first_row_kernel,
    step_rows_kernel,
    store_row_kernel,
    unit_row_kernel,
    virtual_row_kernel,
)
from diffsim.stages.lines import lines_kernel
from diffsim.stages.lines_gradient import lines_gradient_kernel
from diffsim.stages.mass import mass_kernel
from diffsim.stages.motion import motion_kernel
from diffsim.stages.noslip import noslip_kernel
from diffsim.stages.noslip_adjoint import noslip_adjoint_kernel
from diffsim.stages.noslip_gradient import noslip_gradient_kernel
from diffsim.stages.noslip_lines import noslip_lines_kernel
from diffsim.stages.parameters import (
    clear_parameters_kernel,
    euler_timestep_kernel,
    implicit_parameters_kernel,
    implicitfast_parameters_kernel,
    parameters_kernel,
    stage_timestep_kernel,
    store_parameters_kernel,
)
from diffsim.stages.point import point_kernel
from diffsim.stages.power import power_kernel
from diffsim.stages.respond import respond_kernel
from diffsim.stages.rows import rows_kernel
from diffsim.stages.sensed import (
    begin_sensed_adjoint_kernel,
    end_sensed_adjoint_kernel,
    load_inputs_kernel,
    sensed_kernel,
)
from diffsim.stages.servos import servos_adjoint_kernel, servos_kernel
from diffsim.stages.smooth import smooth_kernel
from diffsim.stages.solve import solve_kernel
from diffsim.stages.state import begin_kernel, end_kernel
from diffsim.stages.twists import twists_kernel
from diffsim.stages.virtual import virtual_kernel

FEW_DOFS = 32
"""Models with more dofs have 32 lanes per world, the others 8."""


def lanes_of(model: Model) -> int:
    """Number of lanes of a world on CUDA, or emulated.

    Counted by `benchmarks.cuda_model`, the chain of dependent accesses of Ant with 8 lanes is a fifth longer than with
    32, and a GPU holds four times as many worlds at once.
    """
    return EMULATED or (8 if model.nv <= FEW_DOFS else 32)


class Stages:
    """The launches of one model's worlds.

    Args:
        model: the model.
        arrays: its `ModelArrays`.
        scratch: working memory, with a row per world.
        num_worlds: N.
        device: Warp's name of the device.
        stream: a CUDA stream; None for Warp's own.
        loop: records the kernels instead of launching them; on the CPU without emulated lanes.
    """

    def __init__(
        self,
        model: Model,
        arrays: Any,  # noqa: ANN401  (a Warp struct instance)
        scratch: Any,  # noqa: ANN401
        num_worlds: int,
        device: str,
        stream: wp.Stream | None = None,
        loop: WorldLoop | None = None,
    ) -> None:
        self.loop = loop
        self.model, self.arrays, self.scratch = model, arrays, scratch
        self.num_worlds, self.device, self.stream = num_worlds, device, stream
        self.lanes = lanes_of(model)

    def step(self, state: Any, ctrl: Any, force: Any, num_steps: int, points: Any, result: Any, *forces: Any) -> None:  # noqa: ANN401
        """`programs.STEP`; the last of `forces` is the report."""
        report = forces[-1]
        self._each(begin_kernel, state, ctrl, force, report)
        rk4 = self.model.integrator == "RK4"
        for slot in range(num_steps * (4 if rk4 else 1)):
            self._evaluate(points, slot, num_steps, int(rk4 and slot % 4 > 0))
            if self.arrays.implicit:
                self._each(implicit_kernel)
            self._each(advance_kernel, points, slot, report)
        self._each(end_kernel, num_steps, result, *forces)

    def evaluate(self, state: Any, ctrl: Any, force: Any, qacc: Any, *forces: Any) -> None:  # noqa: ANN401
        """`programs.EVALUATE`."""
        self._each(begin_kernel, state, ctrl, force, forces[-1])
        self._evaluate(EvaluationPoints(), 0, 0, 0)
        self._each(end_kernel, 0, qacc, *forces)

    def step_adjoint(self, ctrl: Any, num_steps: int, points: Any, *bars: Any) -> None:  # noqa: ANN401
        """`programs.STEP_ADJOINT`, or `programs.PARAMETER_ADJOINT`."""
        inputs, outputs, parameter_bar = bars[:6], bars[6:9], bars[9:]
        self._each(begin_adjoint_kernel, ctrl, num_steps, points, *inputs)
        if parameter_bar:
            self._each(clear_parameters_kernel)
        rk4 = self.model.integrator == "RK4"
        for slot in reversed(range(max(1, num_steps * (4 if rk4 else 1)))):
            if self.merged:
                self._each(point_kernel, points, slot, num_steps)
            else:
                self._each(begin_slot_kernel, points, slot, num_steps)
                self._frames(points, slot, num_steps, 1)
            if self.arrays.nservo:
                self._each(servos_adjoint_kernel, points, slot, num_steps)
            self._constraints()
            if num_steps and not rk4:
                self._velocity_step_adjoint(bool(parameter_bar))
            if self.arrays.noslip:
                self._noslip_point(points, slot)
                self._noslip_adjoint(0)
            if self.merged and not (parameter_bar or self.arrays.neq):
                self._each(power_kernel)
                self._contact_gradients()
                self._each(collect_kernel, slot, num_steps)
                continue
            self._gradient()
            if parameter_bar:
                self._each(parameters_kernel)
            self._each(end_slot_kernel, slot, num_steps)
            if parameter_bar and num_steps and rk4:
                self._each(stage_timestep_kernel, points, slot)
        self._each(end_adjoint_kernel, *outputs)
        if parameter_bar:
            self._each(store_parameters_kernel, *parameter_bar)

    def linearize(self, ctrl: Any, num_steps: int, points: Any, by_state: Any, by_ctrl: Any, evaluations: Any) -> None:  # noqa: ANN401
        """`programs.LINEARIZE`, with one lane."""
        self._each(begin_linearize_kernel, ctrl, by_state, by_ctrl)
        stages = 4 if self.model.integrator == "RK4" else 1
        for slot in reversed(range(num_steps * stages)):
            row = slot % stages, evaluations
            self._frames(points, slot, num_steps, 1)
            self._constraints()
            if self.arrays.implicit:
                self._each(implicit_kernel)
            self._each(first_row_kernel)  # the rows at fixed dynamics, before the factor of H replaces that of M - h D
            for _ in range(self.model.nv):
                self._each(unit_row_kernel)
                if self.arrays.implicit:
                    self._implicit_adjoint()
                self._each(store_row_kernel, *row)
            self._each(factor_kernel)
            if self.arrays.noslip:
                self._noslip_point(points, slot)
            for _ in range(self.model.nv):
                self._each(virtual_row_kernel, *row)
                self._clear_contact_bars()
                if self.arrays.noslip:
                    self._noslip_adjoint(0)
                    self._each(virtual_kernel)
                self._gradient_of_power()
                self._each(store_row_kernel, *row)
            if slot % stages == 0:
                self._each(step_rows_kernel, points, slot, by_state, by_ctrl, evaluations)

    def forces(self, inputs: Any, points: Any, *outputs: Any) -> None:  # noqa: ANN401
        """`programs.CONSTRAINT_FORCES`."""
        self._each(load_inputs_kernel, inputs)
        self._frames(points, 0, 0, 1)
        self._constraints()
        if self.arrays.noslip:
            self._each(noslip_kernel, points, 0, 1)
        self._each(sensed_kernel, *outputs)

    def forces_adjoint(self, inputs: Any, points: Any, *bars: Any) -> None:  # noqa: ANN401
        """`programs.CONSTRAINT_FORCES_ADJOINT`, or `programs.CONSTRAINT_FORCES_PARAMETER_ADJOINT`."""
        self._each(load_inputs_kernel, inputs)
        bars, outputs, parameter_bar = bars[:7], bars[7:11], bars[11:]
        if parameter_bar:
            self._each(clear_parameters_kernel)
        self._frames(points, 0, 0, 1)
        self._constraints()
        if self.arrays.noslip:
            self._noslip_point(points, 0)
        self._each(begin_sensed_adjoint_kernel, *bars)
        if self.arrays.noslip:
            self._noslip_adjoint(1)
        self._gradient_of_power()
        if parameter_bar:
            self._each(parameters_kernel)
            self._each(store_parameters_kernel, *parameter_bar)
        self._each(end_sensed_adjoint_kernel, points, *outputs)

    def _evaluate(self, points: Any, slot: int, num_steps: int, warm: int) -> None:  # noqa: ANN401
        """One evaluation (`mj_forward`)."""
        if self.merged:
            self._each(smooth_kernel, points, slot, num_steps)
            self._detect()
            self._each(respond_kernel, warm)
            return
        self._frames(points, slot, num_steps, 0)
        if self.arrays.nservo:
            self._each(servos_kernel, points, slot, num_steps)
        if self.arrays.contact_terms:  # forces depend on contacts
            self._constraints()
            self._each(forces_kernel)
            self._each(adhesion_kernel)
        else:
            self._each(forces_kernel)
            self._constraints()
        self._each(solve_kernel, warm)
        if self.arrays.noslip:
            self._each(noslip_kernel, points, slot, 0)

    def _noslip_point(self, points: Any, slot: int) -> None:  # noqa: ANN401
        """The noslip solver in the adjoint; moves the evaluation point to the accelerations before it."""
        self._each(noslip_kernel, points, slot, 1)
        self._each(motion_kernel, 1)

    def _noslip_adjoint(self, sensed: int) -> None:
        """Adjoint of the noslip solver, of results or of sensed forces."""
        self._each(noslip_adjoint_kernel, sensed)
        self._each(noslip_gradient_kernel)

    def _frames(self, points: Any, slot: int, num_steps: int, adjoint: int) -> None:  # noqa: ANN401
        """Poses, velocities, accelerations and the mass matrix. Three kernels, so that each fits the cache."""
        self._each(frames_kernel, points, slot, num_steps, adjoint)
        self._each(motion_kernel, adjoint)
        if self.arrays.nline:
            self._each(lines_kernel)
        self._each(mass_kernel)

    @property
    def merged(self) -> bool:
        """Whether stages run together."""
        a = self.arrays
        rare = a.nline or a.nellipsoid or a.contact_terms or a.noslip or a.nservo
        return self.loop is not None and not rare

    def _detect(self) -> None:
        """Candidates of contacts."""
        for kinds, pairs in self._pairs().items():
            self._threads(detection_kernel(*kinds), len(pairs), pairs)
        for kernel, height_fields in ((convex_kernel, False), (height_fields_kernel, True)):
            count = len(self.model.convex_pairs(height_fields))
            if count:
                self._threads(kernel, min(count, THREADS), self._convex_pairs(height_fields))

    def _constraints(self) -> None:
        """Contacts and rows."""
        self._detect()
        self._each(rows_kernel)
        if self.arrays.contact_terms:
            self._each(contact_terms_kernel)

    def _velocity_step_adjoint(self, parameters: bool) -> None:
        """Adjoint of Euler's step."""
        if self.arrays.implicit:
            self._each(implicit_kernel)
        self._each(velocity_adjoint_kernel)
        if parameters:
            self._each(euler_timestep_kernel)
        if self.arrays.implicit:
            self._implicit_adjoint(parameters)

    def _implicit_adjoint(self, parameters: bool = False) -> None:
        """Adjoint of the acceleration of an implicit step."""
        euler = self.model.integrator == "Euler"
        self._each(implicit_adjoint_kernel)
        if parameters:
            self._each(implicit_parameters_kernel)
        if self.model.integrator == "implicit":
            self._each(implicit_bias_kernel)
        if not euler:
            self._each(implicit_forces_kernel)
            if self.arrays.fluid:
                self._each(implicit_fluid_kernel)
        if self.arrays.nline:
            self._each(implicit_lines_kernel)
        if parameters and not euler:
            self._each(implicitfast_parameters_kernel)

    def _gradient(self) -> None:
        """Gradient of the virtual power: see `virtual_power`."""
        self._each(virtual_kernel)
        self._clear_contact_bars()
        self._gradient_of_power()

    def _clear_contact_bars(self) -> None:
        """Clears the cotangents of contacts' shapes, to which `_gradient_of_power` adds. The noslip solver did it."""
        if self.arrays.contact_terms and not self.arrays.noslip:
            self._each(clear_contact_bars_kernel)

    def _gradient_of_power(self) -> None:
        """`_gradient`, given the virtual velocity."""
        self._each(twists_kernel)
        if self.arrays.nellipsoid:
            self._each(ellipsoids_kernel)
        if self.arrays.contact_terms:  # adds cotangents of contacts
            if self.arrays.nline:
                self._each(lines_gradient_kernel)
            self._each(friction_reference_kernel)
        if self._contact_gradients():
            self._each(add_contacts_kernel)
        if self.arrays.neq:
            self._each(joined_kernel)
        if self.arrays.nline and not self.arrays.contact_terms:
            self._each(lines_gradient_kernel)
        if self.arrays.nline and self.arrays.noslip:
            self._each(noslip_lines_kernel)
        self._each(gather_kernel)
        self._each(elements_kernel)

    def _contact_gradients(self) -> bool:
        """Gradients of contacts; whether geoms can touch."""
        kinds, convex = list(self._pairs()), any(len(self.model.convex_pairs(fields)) for fields in (False, True))
        for pair in kinds:
            self._threads(gradient_kernel(*pair), self.model.max_contacts)
        if convex:
            self._threads(convex_gradient_kernel, self.model.max_contacts)
        return convex or bool(kinds)

    def _pairs(self) -> Mapping[tuple[int, int], Any]:
        """The pairs of geoms, by kinds."""
        return self.model.pairs_by_kinds(self.device)

    def _convex_pairs(self, height_fields: bool) -> Any:  # noqa: ANN401
        """The pairs of geoms of the general convex collision."""
        return self.model.convex_pairs_on(self.device, height_fields)

    def kernels(self, program: Kernels, inputs: Sequence[Any]) -> None:
        """Some kernels with all lanes of all worlds. `inputs` are in the order of `arguments_of(program)`."""
        given = dict(zip((name for name in arguments_of(program) if name not in ("m", "s")), inputs, strict=True))
        for kernel in program.sequence:
            self._each(kernel, *(given[name] for name in arguments_of(kernel) if name in given))

    def _each(self, kernel: wp.Kernel, *arguments: Any) -> None:  # noqa: ANN401
        """Launches a kernel with all lanes of all worlds."""
        inputs = [self.arrays, self.scratch, *arguments]
        if self.loop is not None:
            self.loop.add(kernel, inputs)
        else:
            launch_lanes(kernel, inputs, self.num_worlds, self.lanes, self.device, self.stream)

    def _threads(self, kernel: wp.Kernel, threads: int, *arguments: Any) -> None:  # noqa: ANN401
        """Launches a kernel whose last argument is the number of its threads per world: 1 if they are recorded."""
        inputs = [self.arrays, self.scratch, *arguments]
        if self.loop is not None:
            self.loop.add(kernel, [*inputs, 1])
            return
        count, inputs = self.num_worlds * threads, [*inputs, threads]
        wp.launch(kernel, dim=count, inputs=inputs, device=self.device, stream=self.stream, block_dim=LARGEST_BLOCK)


def launch_lanes(
    kernel: wp.Kernel, inputs: Sequence[Any], num_worlds: int, lanes: int, device: str, stream: wp.Stream | None
) -> None:
    """Launches a kernel with some number of lanes for each world; on the CPU, emulates more than one."""
    if device != "cpu":
        block = WORLDS_PER_BLOCK * lanes
        wp.launch(kernel, dim=num_worlds * lanes, inputs=inputs, device=device, stream=stream, block_dim=block)
    elif not EMULATED:
        wp.launch(kernel, dim=num_worlds, inputs=inputs, device=device)
    else:
        if not kernel.module.execs:
            wp.load_module(kernel.module, device=device)
        emulation().run(lambda: wp.launch(kernel, dim=num_worlds, inputs=list(inputs), device=device), lanes)
