"""MuJoCo physics on torch tensors, differentiable."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from diffsim.compile.model import Model
from diffsim.engine.launch import Launch
from diffsim.engine.physics_calls import EvaluateCall, StepCall
from diffsim.engine.readings import Readings
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
        act: [N, na] activations of actuators.
        solver_iterations: [N] int32, largest number of Newton iterations in any evaluation of the call, a diagnostic;
            None if the call did not run on a `Simulator` of this process.
    """

    qpos: Tensor
    qvel: Tensor
    qacc: Tensor
    qfrc_constraint: Tensor
    qfrc_actuator: Tensor
    cfrc_ext: Tensor
    act: Tensor
    solver_iterations: Tensor | None = None


class Simulator(Readings):
    """Copies of one model, stepped together and differentiable through torch autograd.

    A state is `[qpos, qvel, act]`, one row per world, in `diffsim.dtype`; the kernels compute in float64 (see
    `diffsim.types`). Calls keep no state: the same inputs give the same bits. Quaternions are normalized first, as in
    MuJoCo, and their gradient includes the normalization.

    Second derivatives with respect to states, controls and forces, forward mode and `torch.func` are supported. Second
    derivatives and forward-mode derivatives are central differences of gradients and steps (see
    `diffsim.engine.differentiable`).

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
        super().__init__(Launch(model, num_worlds, _checked_device(device)))
        self._no_force = torch.zeros(num_worlds, model.nv, dtype=dtype, device=self.device)

    def step(
        self,
        state: Tensor,
        ctrl: Tensor,
        num_steps: int = 1,
        *,
        qfrc_applied: Tensor | None = None,
        parameters: Mapping[str, Tensor] | None = None,
        mocap_pos: Tensor | None = None,
        mocap_quat: Tensor | None = None,
        eq_active: Tensor | None = None,
        xfrc_applied: Tensor | None = None,
    ) -> Tensor:
        """Advances every world by `num_steps` time steps with constant controls (`mj_step`).

        Args:
            state: [N, nq + nv + na].
            ctrl: [N, nu], in the actuators' units.
            num_steps: >= 1.
            qfrc_applied: [N, nv] N, N m, generalized forces held over the steps (`data.qfrc_applied`); differentiable.
            parameters: values for fields of the model, differentiable: body_mass [nbody], body_inertia [nbody, 3],
                geom_friction [ngeom, 3], dof_damping [nv], dof_armature [nv], jnt_stiffness [njnt],
                actuator_gainprm and actuator_biasprm [nu, 10], actuator_gear [nu, 6], gravity [3], body_pos and
                body_ipos [nbody, 3], body_quat [nbody, 4] (normalized first), dof_frictionloss [nv] (where the model
                has friction loss), jnt_range [njnt, 2], geom_pos and geom_size [ngeom, 3], tendon_stiffness and
                tendon_damping [ntendon], tendon_lengthspring and tendon_range [ntendon, 2], timestep [] (`opt`'s), and
                solref [..., 2] and solimp [..., 5] of jnt_ (limits), dof_, geom_ and eq_; each of that shape for all
                worlds, or with a leading [N]. Units are MuJoCo's. Quantities that MuJoCo's compiler derived from a
                field do not change, but for the radii of geoms' bounding spheres. Functions of positions alone, such as
                `xpos`, keep the model's own values; `kinematics` gives them others.
            mocap_pos: [N, nmocap, 3] m, positions of mocap bodies, held over the steps (`data.mocap_pos`);
                differentiable; the model's own by default. `xpos` and the like keep those; see `kinematics`.
            mocap_quat: [N, nmocap, 4] (w, x, y, z), their orientations (`data.mocap_quat`), normalized first;
                differentiable; the model's own by default.
            eq_active: [N, neq] bool, which equality constraints are active (`data.eq_active`); `eq_active0` by
                default.
            xfrc_applied: [N, nbody, 6] N, N m, a force at each body's centre of mass and a torque, in world axes, held
                over the steps (`data.xfrc_applied`); differentiable. Not with the parameter body_ipos.

        Returns: next state, [N, nq + nv + na].

        Raises:
            TypeError, ValueError: an argument has a wrong type, shape, dtype or device, or is not finite; the state,
                or a control without range, is larger than 1e10 (MuJoCo's mjMAXVAL).
            NotImplementedError: parameters of inertia, poses, contacts or friction require gradients, and the noslip
                solver acts.
            ContactOverflowError: there were more contacts than the model's `max_contacts`.
            FloatingPointError: the physics diverged: a number of qpos, qvel or qacc is not finite, or larger than 1e10,
                where MuJoCo would reset the simulation; the message names world, time step and array.
        """
        return self.advance(
            state,
            ctrl,
            num_steps,
            qfrc_applied=qfrc_applied,
            parameters=parameters,
            mocap_pos=mocap_pos,
            mocap_quat=mocap_quat,
            eq_active=eq_active,
            xfrc_applied=xfrc_applied,
        )[0]

    def advance(
        self,
        state: Tensor,
        ctrl: Tensor,
        num_steps: int = 1,
        *,
        qfrc_applied: Tensor | None = None,
        parameters: Mapping[str, Tensor] | None = None,
        mocap_pos: Tensor | None = None,
        mocap_quat: Tensor | None = None,
        eq_active: Tensor | None = None,
        xfrc_applied: Tensor | None = None,
    ) -> tuple[Tensor, DynamicsPoint]:
        """As `step`; also returns the last evaluation."""
        inputs = self._inputs(
            state,
            ctrl,
            num_steps,
            mocap_pos=mocap_pos,
            mocap_quat=mocap_quat,
            eq_active=eq_active,
            xfrc_applied=xfrc_applied,
        )
        vector = self._vector(parameters, xfrc_applied)
        force = self._force(qfrc_applied)
        step = StepCall(self.launch, num_steps)
        next_state, *point, act, actuator, contact, iterations, _ = step(state, inputs, force, vector)
        return next_state, DynamicsPoint(*[*point, actuator, contact, act, iterations])

    def forward(
        self,
        state: Tensor,
        ctrl: Tensor,
        *,
        qfrc_applied: Tensor | None = None,
        parameters: Mapping[str, Tensor] | None = None,
        mocap_pos: Tensor | None = None,
        mocap_quat: Tensor | None = None,
        eq_active: Tensor | None = None,
        xfrc_applied: Tensor | None = None,
    ) -> DynamicsPoint:
        """Evaluates the dynamics without a step (`mj_forward`). Arguments and errors are those of `step`."""
        inputs = self._inputs(
            state, ctrl, mocap_pos=mocap_pos, mocap_quat=mocap_quat, eq_active=eq_active, xfrc_applied=xfrc_applied
        )
        vector = self._vector(parameters, xfrc_applied)
        force = self._force(qfrc_applied)
        *results, iterations, _ = EvaluateCall(self.launch)(state, inputs, force, vector)
        qpos, qvel, act = state.split([self.model.nq, self.model.nv, self.model.na], dim=1)
        return DynamicsPoint(*[qpos, qvel, *results, act, iterations])

    def linearize(
        self,
        state: Tensor,
        ctrl: Tensor,
        num_steps: int = 1,
        *,
        parameters: Mapping[str, Tensor] | None = None,
        mocap_pos: Tensor | None = None,
        mocap_quat: Tensor | None = None,
        eq_active: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Jacobians of `step` in MuJoCo's tangent space, dx' = A dx + B du (`mjd_transitionFD`, for every integrator).

        Returns: A [N, 2 nv + na, 2 nv + na] and B [N, 2 nv + na, nu]; rows and columns are [position, velocity, act].
        Raises: as `step`.
        """
        inputs = self._inputs(state, ctrl, num_steps, mocap_pos=mocap_pos, mocap_quat=mocap_quat, eq_active=eq_active)
        state, inputs = state.detach(), inputs.detach()
        launch = self.launch.with_parameters(self._vector(parameters))
        trajectory = launch.step(state, inputs, self._no_force, num_steps)[1]
        a, b = launch.linearize(inputs, num_steps, trajectory)
        return a, b

    def _vector(self, parameters: Mapping[str, Tensor] | None, xfrc_applied: Tensor | None = None) -> Tensor | None:
        if not parameters:
            return None
        if xfrc_applied is not None and "body_ipos" in parameters:  # whose gradient would lack these forces
            raise ValueError("parameters must not contain body_ipos if xfrc_applied is given")
        self.model.parameters.check(parameters, self.num_worlds, self.device)
        if torch.is_grad_enabled() and self.model.field("noslip"):
            self.model.parameters.check_gradients(parameters)
        return self.model.parameters.vector(parameters, self.device)

    def _force(self, qfrc_applied: Tensor | None) -> Tensor:
        """The checked applied forces; zeros for None."""
        if qfrc_applied is None:
            return self._no_force
        self._check("qfrc_applied", qfrc_applied, self.model.nv)
        return qfrc_applied

    def _inputs(self, state: Tensor, ctrl: Tensor, num_steps: int = 1, **others: Tensor | None) -> Tensor:
        """Checks the arguments; returns the kernels' rows of controls and the other inputs."""
        self._check_inputs(state, ctrl, num_steps)
        return self.launch.inputs.join(ctrl, others)

    def _check_inputs(self, state: Tensor, ctrl: Tensor, num_steps: int = 1) -> None:
        self._check("state", state, self.model.state_size)
        self._check("ctrl", ctrl, self.model.nu)
        if isinstance(num_steps, bool) or not isinstance(num_steps, int) or num_steps < 1:
            raise ValueError(f"num_steps must be >= 1, got {num_steps!r}")


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
