"""MuJoCo physics in torch autograd. This is the only file that uses both autograd and Warp."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import mujoco
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from diffsim.compile.model import Model
from diffsim.engine.launch import Launch, check_finite
from diffsim.physics.derived import body_quantities_kernel
from diffsim.physics.points import points_adjoint_kernel, points_kernel
from diffsim.types import dtype


class DynamicsPoint(NamedTuple):
    """The last evaluation of the dynamics in a physics step, and its results; differentiable.

    For Euler it is at the start of the last step, for Runge-Kutta at the fourth stage of the last step. After a step,
    C MuJoCo's derived quantities (`xpos`, `qfrc_constraint`, ...) belong to this evaluation.

    Attributes:
        qpos: [N, nq] m, rad.
        qvel: [N, nv] m/s, rad/s.
        qacc: [N, nv] m/s^2, rad/s^2.
        qfrc_constraint: [N, nv] N, N m.
        qfrc_actuator: [N, nv] N, N m; held constant.
        cfrc_ext: [N, nbody, 6] contact forces on bodies: torque about the centre of mass of the body's tree, force, in
            N m and N (`cfrc_ext` as computed by `mj_rnePostConstraint`); held constant.
        solver_iterations: [N] int32, largest number of Newton iterations in any evaluation of the call, a diagnostic;
            None if the call did not run on a `Simulator` of this process.
    """

    qpos: Tensor
    qvel: Tensor
    qacc: Tensor
    qfrc_constraint: Tensor
    qfrc_actuator: Tensor
    cfrc_ext: Tensor
    solver_iterations: Tensor | None = None


class Simulator:
    """Copies of one model, stepped together and differentiable through torch autograd.

    A state is `[qpos, qvel]`, one row per world, in `diffsim.dtype`; the kernels compute in float64 (see
    `diffsim.types`). Calls keep no state: the same inputs give the same bits. Quaternions are normalized first, as in
    MuJoCo, and their gradient includes the normalization.

    Args:
        model: the model.
        num_worlds: number of copies, N >= 1.
        device: "cpu" or a CUDA device that torch and Warp both see.

    Raises:
        ValueError: `num_worlds` or `device` is not valid.
    """

    def __init__(self, model: Model, num_worlds: int, device: str | torch.device = "cpu") -> None:
        if not isinstance(model, Model):
            raise TypeError(f"model must be a diffsim.Model, got {type(model).__name__}")
        if isinstance(num_worlds, bool) or not isinstance(num_worlds, int) or num_worlds < 1:
            raise ValueError(f"num_worlds must be >= 1, got {num_worlds!r}")
        self.model = model
        self.num_worlds = num_worlds
        self.device = _checked_device(device)
        self.launch = Launch(model, num_worlds, self.device)
        self._no_force = torch.zeros(num_worlds, model.nv, dtype=dtype, device=self.device)

    def step(
        self,
        state: Tensor,
        ctrl: Tensor,
        num_steps: int = 1,
        *,
        qfrc_applied: Tensor | None = None,
        parameters: Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        """Advances every world by `num_steps` time steps with constant controls (`mj_step`).

        Args:
            state: [N, nq + nv].
            ctrl: [N, nu], in the actuators' units.
            num_steps: >= 1.
            qfrc_applied: [N, nv] N, N m, generalized forces held over the steps (`data.qfrc_applied`); differentiable.
            parameters: values for fields of the model, differentiable: body_mass [nbody], body_inertia [nbody, 3],
                geom_friction [ngeom, 3], dof_damping [nv], dof_armature [nv], jnt_stiffness [njnt],
                actuator_gainprm and actuator_biasprm [nu, 10], gravity [3]; each of that shape for all worlds, or with
                a leading [N]. Units are MuJoCo's. Quantities that MuJoCo's compiler derived from a field do not change.

        Returns: next state, [N, nq + nv].

        Raises:
            TypeError, ValueError: an argument has a wrong type, shape, dtype or device, or is not finite.
            ContactOverflowError: there were more contacts than the model's `max_contacts`.
            FloatingPointError: the physics diverged; the message names world, time step and array.
        """
        return self.advance(state, ctrl, num_steps, qfrc_applied=qfrc_applied, parameters=parameters)[0]

    def advance(
        self,
        state: Tensor,
        ctrl: Tensor,
        num_steps: int = 1,
        *,
        qfrc_applied: Tensor | None = None,
        parameters: Mapping[str, Tensor] | None = None,
    ) -> tuple[Tensor, DynamicsPoint]:
        """As `step`; also returns the last evaluation."""
        self._check_inputs(state, ctrl, num_steps)
        force = self._force(qfrc_applied)
        next_state, *evaluation = _Step.apply(self, state, ctrl, force, num_steps, self._vector(parameters))
        return next_state, DynamicsPoint(*evaluation)

    def forward(
        self,
        state: Tensor,
        ctrl: Tensor,
        *,
        qfrc_applied: Tensor | None = None,
        parameters: Mapping[str, Tensor] | None = None,
    ) -> DynamicsPoint:
        """Evaluates the dynamics without a step (`mj_forward`). Arguments and errors are those of `step`."""
        self._check_inputs(state, ctrl)
        nq = self.model.nq
        results = _Evaluate.apply(self, state, ctrl, self._force(qfrc_applied), self._vector(parameters))
        return DynamicsPoint(state[:, :nq], state[:, nq:], *results)

    def linearize(
        self, state: Tensor, ctrl: Tensor, num_steps: int = 1, *, parameters: Mapping[str, Tensor] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Jacobians of `step` in MuJoCo's tangent space, dx' = A dx + B du (`mjd_transitionFD`, for every integrator).

        Returns: A [N, 2 nv, 2 nv] and B [N, 2 nv, nu]; rows and columns are [position, velocity].
        Raises: as `step`.
        """
        self._check_inputs(state, ctrl, num_steps)
        state, ctrl = state.detach(), ctrl.detach()
        size = 2 * self.model.nv
        launch = self.launch.with_parameters(self._vector(parameters))
        trajectory = launch.step(state, ctrl, self._no_force, num_steps)[1]
        a = state.new_zeros(self.num_worlds, size, size)
        b = state.new_zeros(self.num_worlds, size, self.model.nu)
        for row in range(size):
            unit = state.new_zeros(self.num_worlds, size)
            unit[:, row] = 1
            a[:, row], b[:, row], *_ = launch.step_adjoint(ctrl, num_steps, trajectory, unit, [None] * 4)
        return a, b

    def xpos(self, qpos: Tensor, bodies: Sequence[str | int]) -> Tensor:
        """World positions of bodies' origins (`data.body(name).xpos`).

        Args:
            qpos: [N, nq].
            bodies: names or ids.

        Returns: [N, len(bodies), 3] m, differentiable in qpos.
        Raises: KeyError if there is no such body, with a list of the bodies; ValueError as `step`.
        """
        ids = [self._element(mujoco.mjtObj.mjOBJ_BODY, body) for body in bodies]
        return self._points(qpos, ids, [(0.0, 0.0, 0.0)] * len(ids))

    def xipos(self, qpos: Tensor, bodies: Sequence[str | int]) -> Tensor:
        """World positions of bodies' centres of mass (`data.xipos`): as `xpos`."""
        ids = [self._element(mujoco.mjtObj.mjOBJ_BODY, body) for body in bodies]
        return self._points(qpos, ids, [tuple(self.model.mj_model.body_ipos[i]) for i in ids])

    def cinert(self, qpos: Tensor) -> Tensor:
        """Bodies' inertias about their tree's centre of mass (`data.cinert`), without gradient.

        Args:
            qpos: [N, nq].

        Returns: [N, nbody, 10]: rotational inertia xx, yy, zz, xy, xz, yz [kg m^2], mass * offset [kg m], mass [kg].
        Raises: as `step`.
        """
        return self._body_quantities(qpos, torch.zeros_like(qpos[:, :1]).expand(-1, self.model.nv))[0]

    def cvel(self, qpos: Tensor, qvel: Tensor) -> Tensor:
        """Bodies' twists about their tree's centre of mass (`data.cvel`), without gradient.

        Args:
            qpos: [N, nq].
            qvel: [N, nv].

        Returns: [N, nbody, 6]: angular [rad/s], linear [m/s].
        Raises: as `step`.
        """
        return self._body_quantities(qpos, qvel)[1]

    def _body_quantities(self, qpos: Tensor, qvel: Tensor) -> tuple[Tensor, Tensor]:
        self._check("qpos", qpos, self.model.nq)
        self._check("qvel", qvel, self.model.nv)
        check_finite("qpos", qpos)
        check_finite("qvel", qvel)
        nbody = self.model.mj_model.nbody
        outputs = {"cinert_out": (nbody, 10), "cvel_out": (nbody, 6)}
        cinert, cvel = self.launch.run(body_quantities_kernel, [qpos, qvel], outputs)
        return cinert, cvel

    def site_xpos(self, qpos: Tensor, sites: Sequence[str | int]) -> Tensor:
        """World positions of sites (`data.site(name).xpos`): as `xpos`."""
        ids = [self._element(mujoco.mjtObj.mjOBJ_SITE, site) for site in sites]
        mj_model = self.model.mj_model
        return self._points(
            qpos, [int(mj_model.site_bodyid[i]) for i in ids], [tuple(mj_model.site_pos[i]) for i in ids]
        )

    def _points(self, qpos: Tensor, bodies: list[int], offsets: list[tuple[float, ...]]) -> Tensor:
        self._check("qpos", qpos, self.model.nq)
        check_finite("qpos", qpos)
        return _Points.apply(self, qpos, tuple(bodies), tuple(offsets))

    def _element(self, kind: mujoco.mjtObj, name: str | int) -> int:
        mj_model = self.model.mj_model
        count = mj_model.nbody if kind == mujoco.mjtObj.mjOBJ_BODY else mj_model.nsite
        names = [mujoco.mj_id2name(mj_model, kind, i) for i in range(count)]
        if name in names:
            return names.index(name)
        if isinstance(name, int) and 0 <= name < count:
            return name
        word = kind.name.removeprefix("mjOBJ_").lower()
        raise KeyError(f"{word} must be one of {names} or an id below {count}, got {name!r}")

    def _vector(self, parameters: Mapping[str, Tensor] | None) -> Tensor | None:
        """Checks the parameters and converts them to the kernels' vector, differentiably; None for the model's own."""
        if not parameters:
            return None
        self.model.parameters.check(parameters, self.num_worlds, self.device)
        return self.model.parameters.vector(parameters, self.device)

    def _force(self, qfrc_applied: Tensor | None) -> Tensor:
        """The checked applied forces; zeros for None."""
        if qfrc_applied is None:
            return self._no_force
        self._check("qfrc_applied", qfrc_applied, self.model.nv)
        return qfrc_applied

    def _check_inputs(self, state: Tensor, ctrl: Tensor, num_steps: int = 1) -> None:
        self._check("state", state, self.model.nq + self.model.nv)
        self._check("ctrl", ctrl, self.model.nu)
        if isinstance(num_steps, bool) or not isinstance(num_steps, int) or num_steps < 1:
            raise ValueError(f"num_steps must be >= 1, got {num_steps!r}")

    def _check(self, name: str, value: Tensor, size: int) -> None:
        if not isinstance(value, Tensor):
            raise TypeError(f"{name} must be a torch.Tensor, got {type(value).__name__}")
        if value.shape != (self.num_worlds, size):
            raise ValueError(f"{name} must have shape {(self.num_worlds, size)}, got {tuple(value.shape)}")
        if value.dtype != dtype:
            raise ValueError(f"{name} must have dtype {dtype} (DIFFSIM_X64=1 selects float64), got {value.dtype}")
        if value.device != self.device:
            raise ValueError(f"{name} must be on device {self.device}, got {value.device}")


def _checked_device(device: str | torch.device) -> torch.device:
    try:
        checked = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ValueError(f"device must be 'cpu' or a CUDA device, got {device!r}") from error
    if checked.type == "cpu":
        return torch.device("cpu")
    if checked.type != "cuda" or not torch.cuda.is_available():
        raise ValueError(f"device must be 'cpu' or a CUDA device that is present, got {str(device)!r}")
    return torch.device("cuda", checked.index if checked.index is not None else torch.cuda.current_device())


class _Step(torch.autograd.Function):
    """`Simulator.advance`."""

    @staticmethod
    def forward(  # noqa: D102
        ctx: Any,  # noqa: ANN401
        sim: Simulator,
        state: Tensor,
        ctrl: Tensor,
        force: Tensor,
        num_steps: int,
        vector: Tensor | None,
    ) -> tuple[Tensor, ...]:
        ctx.set_materialize_grads(False)
        next_state, trajectory, forces = sim.launch.with_parameters(vector).step(state, ctrl, force, num_steps)
        ctx.sim, ctx.num_steps = sim, num_steps
        ctx.save_for_backward(state, ctrl, vector, next_state, trajectory)
        ctx.mark_non_differentiable(forces.qfrc_actuator, forces.cfrc_ext, forces.solver_iterations)
        nq, nv = sim.model.nq, sim.model.nv
        last = trajectory[:, -1]
        point = (part.to(dtype, copy=True) for part in last.split([nq, nv, nv], dim=1))
        return next_state, *point, *forces

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:  # noqa: ANN401, D102
        state, ctrl, vector, next_state, trajectory = ctx.saved_tensors
        launch = ctx.sim.launch.with_parameters(vector, ctx.needs_input_grad[5])
        next_grad, *evaluation_grads = grads[:5]
        if next_grad is None:
            next_bar = state.new_zeros(launch.num_worlds, 2 * launch.model.nv)
        else:
            next_bar = launch.to_tangent(next_state, next_grad)
        bars = launch.step_adjoint(ctrl, ctx.num_steps, trajectory, next_bar, evaluation_grads)
        state_bar, ctrl_bar, force_bar, vector_bar = bars
        vector_grad = _vector_grad(ctx, vector, vector_bar, 5)
        return None, launch.from_tangent(state, state_bar), ctrl_bar, force_bar, None, vector_grad


class _Evaluate(torch.autograd.Function):
    """`Simulator.forward`."""

    @staticmethod
    def forward(  # noqa: D102
        ctx: Any,  # noqa: ANN401
        sim: Simulator,
        state: Tensor,
        ctrl: Tensor,
        force: Tensor,
        vector: Tensor | None,
    ) -> tuple[Tensor, ...]:
        qacc, forces = sim.launch.with_parameters(vector).evaluate(state, ctrl, force)
        ctx.sim = sim
        ctx.save_for_backward(state, ctrl, vector, qacc)
        ctx.mark_non_differentiable(forces.qfrc_actuator, forces.cfrc_ext, forces.solver_iterations)
        return qacc.to(dtype, copy=True), *forces

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401, D102
        state, ctrl, vector, qacc = ctx.saved_tensors
        launch = ctx.sim.launch.with_parameters(vector, ctx.needs_input_grad[4])
        bars = launch.evaluate_adjoint(state, ctrl, qacc, grads[:2])
        state_bar, ctrl_bar, force_bar, vector_bar = bars
        return (
            None,
            launch.from_tangent(state, state_bar),
            ctrl_bar,
            force_bar,
            _vector_grad(ctx, vector, vector_bar, 4),
        )


def _vector_grad(ctx: Any, vector: Tensor | None, bar: Tensor, index: int) -> Tensor | None:  # noqa: ANN401
    """Gradient of the parameters: per world, or summed over the worlds that share them."""
    if vector is None or not ctx.needs_input_grad[index]:
        return None
    return bar if vector.dim() == 2 else bar.sum(0)


class _Points(torch.autograd.Function):
    """`Simulator.xpos`, `Simulator.xipos` and `Simulator.site_xpos`."""

    @staticmethod
    def forward(  # noqa: D102
        ctx: Any,  # noqa: ANN401
        sim: Simulator,
        qpos: Tensor,
        bodies: tuple[int, ...],
        offsets: tuple[tuple[float, ...], ...],
    ) -> Tensor:
        ctx.sim = sim
        ctx.body = torch.tensor(bodies, dtype=torch.int32, device=sim.device)
        ctx.offset = torch.tensor(offsets, dtype=dtype, device=sim.device)
        ctx.save_for_backward(qpos)
        return sim.launch.run(points_kernel, [qpos, ctx.body, ctx.offset], {"position_out": (len(bodies), 3)})[0]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[None, Tensor, None, None]:  # noqa: ANN401, D102
        sim: Simulator = ctx.sim
        (qpos,) = ctx.saved_tensors
        inputs = [qpos, ctx.body, ctx.offset, grad]
        return None, sim.launch.run(points_adjoint_kernel, inputs, {"qpos_bar_out": (sim.model.nq,)})[0], None, None
