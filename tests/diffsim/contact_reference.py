"""C MuJoCo as the reference for switching constraints: visited states, active constraints of each step, derivatives."""

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import mujoco
import numpy as np

from diffsim.collision.geometry import CONVEX

from .reference import BALL, FREE, Stepper, block_error, difference, displace, load

# Gymnasium's tasks: MJCF file and physics steps per action.
TASKS = {
    "InvertedPendulum-v5": ("inverted_pendulum", 2),
    "InvertedDoublePendulum-v5": ("inverted_double_pendulum", 5),
    "Reacher-v5": ("reacher", 2),
    "Swimmer-v5": ("swimmer", 4),
    "Hopper-v5": ("hopper", 4),
    "Walker2d-v5": ("walker2d_v5", 4),
    "HalfCheetah-v5": ("half_cheetah", 5),
    "Ant-v5": ("ant", 5),
    "Humanoid-v5": ("humanoid", 5),
    "HumanoidStandup-v5": ("humanoidstandup", 5),
    "Pusher-v5": ("pusher_v5", 5),
}

Signature = tuple[bytes, ...]


class Step(Protocol):
    """A simulator of one world."""

    def step(self, state: np.ndarray, ctrl: np.ndarray, num_steps: int = 1) -> np.ndarray:
        """State [nq + nv] after `num_steps` from a state [nq + nv] under a control [nu]."""
        ...


def load_task(id: str) -> tuple[mujoco.MjModel, int]:
    """Model of a Gymnasium task, its solver converged, and physics steps per action."""
    name, frame_skip = TASKS[id]
    return load(name), frame_skip


# ---------------------------------------------------------------------------------------------------- states


@functools.cache
def task_states(id: str, count: int) -> tuple[np.ndarray, np.ndarray]:
    """`visited_states` of a Gymnasium task."""
    mj_model, frame_skip = load_task(id)
    return visited_states(mj_model, count, frame_skip)


@functools.cache
def model_states(name: str, count: int) -> tuple[np.ndarray, np.ndarray]:
    """`visited_states` of a test model."""
    return visited_states(load(name), count, 5)


def visited_states(
    mj_model: mujoco.MjModel, count: int, hold: int, *, inside: bool = False, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """States on trajectories of C MuJoCo from near qpos0, most of them in contact if there are contacts.

    Half of the trajectories have random controls, half have sines of random frequency and phase. Each control is held
    for `hold` steps. At most one state in about seven is kept; of these, one in four without a contact, and one in
    sixteen without any constraint force.

    Args:
        mj_model: the model.
        count: N.
        hold: physics steps per control.
        inside: whether controls stay within 0.95 times their range; else they reach 1.1 times.
        seed: of all random numbers.

    Returns: state [N, nq + nv], ctrl [N, nu].
    """
    rng = np.random.default_rng(seed)
    data = mujoco.MjData(mj_model)
    low, high = mj_model.actuator_ctrlrange.T
    states, ctrls = [], []
    while len(states) < count:
        length, stride = _start(mj_model, data, rng)
        sines = rng.random() < 0.5
        frequency, phase = rng.uniform(0.5, 4, mj_model.nu), rng.uniform(0, 2 * np.pi, mj_model.nu)
        next_kept = int(rng.integers(0, stride))
        for step in range(length):
            wave = np.sin(2 * np.pi * frequency * data.time + phase) if sines else rng.uniform(-1, 1, mj_model.nu)
            ctrl = (low + high) / 2 + (0.95 if inside else 1.1) * (high - low) / 2 * wave
            data.ctrl[:] = ctrl
            mujoco.mj_forward(mj_model, data)
            if np.abs(data.qvel).max() > 50 or not np.isfinite(data.qacc).all():
                break
            odds = 1 if data.ncon else 0.25 if data.qfrc_constraint.any() else 0.06
            if step >= next_kept and rng.random() < odds:
                states.append(np.concatenate([data.qpos, data.qvel]))
                ctrls.append(ctrl)
                next_kept = step + int(rng.integers(1, stride + 1))
            mujoco.mj_step(mj_model, data, nstep=hold)
    order = rng.permutation(len(states))[:count]
    return np.array(states)[order], np.array(ctrls)[order]


def _start(mj_model: mujoco.MjModel, data: mujoco.MjData, rng: np.random.Generator) -> tuple[int, int]:
    """Sets data to a position near qpos0 with a small velocity; a pushing arm starts at its object.

    Returns: number of controls of the trajectory, and largest number of controls between two kept states.
    """
    mujoco.mj_resetData(mj_model, data)
    data.qvel[:] = 0.3 * rng.standard_normal(mj_model.nv)
    if mujoco.mj_name2id(mj_model, mujoco.mjtObj.mjOBJ_BODY, "tips_arm") > 0:
        data.qpos[:] = pushing_position(mj_model, rng)
        # The object is very light, and contact ends soon.
        return 6, 1
    mujoco.mj_integratePos(mj_model, data.qpos, 0.03 * rng.standard_normal(mj_model.nv), 1.0)
    return 70, 13


def pushing_position(mj_model: mujoco.MjModel, rng: np.random.Generator) -> np.ndarray:
    """A position [nq] of Pusher-v5 with the fingers low over the table and the cylinder close to them."""
    data = mujoco.MjData(mj_model)
    low, high = mj_model.jnt_range[:7].T
    fingers = [mj_model.geom(name).id for name in ("tip_arml", "tip_armr")]
    while True:
        data.qpos[:7] = low + (high - low) * rng.uniform(0.1, 0.9, 7)
        mujoco.mj_kinematics(mj_model, data)
        places = data.geom_xpos[fingers]
        if -0.31 < places[:, 2].min() < -0.24:
            break
    angle = rng.uniform(-np.pi, np.pi)
    place = places[places[:, 2].argmin()] + rng.uniform(0.055, 0.07) * np.array([np.cos(angle), np.sin(angle), 0])
    y, x = place[1] - mj_model.body("object").pos[1], place[0] - mj_model.body("object").pos[0]
    data.qpos[7:9] = y, x
    return data.qpos.copy()


# ----------------------------------------------------------------------------------------------- active sets


def signature(data: mujoco.MjData) -> Signature:
    """Identifies the smooth piece of the dynamics at the last evaluation.

    It contains the detected contacts, by their geoms and in order; the constraint rows, by kind and element; and which
    rows exert a force or are at their bound, for elliptic cones which contacts slide. (It does not use `efc_state`,
    which MuJoCo 4.0 does not update after the start of the solver.)
    """
    contacts, rows = data.ncon, data.nefc
    force, bound = data.efc_force[:rows], data.efc_frictionloss[:rows]
    slipping = (bound > 0) & (np.abs(force) >= bound)
    signs = np.where(bound > 0, 0, np.sign(force))
    elliptic = data.efc_type[:rows] == int(mujoco.mjtConstraint.mjCNSTR_CONTACT_ELLIPTIC)
    for contact in np.flatnonzero(data.contact.efc_address[:contacts] >= 0) if elliptic.any() else ():
        first, dim = int(data.contact.efc_address[contact]), int(data.contact.dim[contact])
        friction = np.linalg.norm(force[first + 1 : first + dim] / data.contact.friction[contact, : dim - 1])
        signs[first + 1 : first + dim] = friction >= (1 - 1e-9) * force[first] > 0
    return (
        data.contact.geom[:contacts].tobytes(),
        data.efc_type[:rows].tobytes(),
        data.efc_id[:rows].tobytes(),
        np.where(slipping, 2 * np.sign(force), signs).astype(np.int8).tobytes(),
    )


@dataclass
class Tracer:
    """The physics step of C MuJoCo, one evaluation of the dynamics at a time.

    After `mj_step` with RK4, only the last of the four evaluations is visible. This class makes the same step from
    calls of `mj_forward`, and shows all of them.
    """

    mj_model: mujoco.MjModel

    def __post_init__(self) -> None:
        """Allocates the one MjData."""
        self.stepper = Stepper(self.mj_model)
        self.data = self.stepper.data

    def signatures(self, state: np.ndarray, ctrl: np.ndarray, num_steps: int) -> Iterator[Signature]:
        """Yields the signature of each evaluation in `num_steps` from a state [nq + nv] under a control [nu]."""
        data = self.stepper.set(state, ctrl)
        for _ in range(num_steps):
            if self.mj_model.opt.integrator == mujoco.mjtIntegrator.mjINT_RK4:
                yield from self._runge_kutta_step()
            else:
                mujoco.mj_forward(self.mj_model, data)
                yield signature(data)
                advance = mujoco.mj_Euler if self.mj_model.opt.integrator == 0 else mujoco.mj_implicit
                advance(self.mj_model, data)

    def _runge_kutta_step(self) -> Iterator[Signature]:
        """Makes four evaluations; increments of position are in the tangent space at the start."""
        m, data, h = self.mj_model, self.data, self.mj_model.opt.timestep
        qpos, qvel = data.qpos.copy(), data.qvel.copy()
        rates, accelerations = [], []
        for fraction in (0, 0.5, 0.5, 1):
            if rates:
                data.qpos[:], data.qvel[:] = qpos, qvel + fraction * h * accelerations[-1]
                mujoco.mj_integratePos(m, data.qpos, rates[-1], fraction * h)
                rates.append(_tangent_rate(m, fraction * h * rates[-1], data.qvel))
            else:
                rates.append(qvel)
            mujoco.mj_forward(m, data)
            yield signature(data)
            accelerations.append(data.qacc.copy())
        weights = np.array([1, 2, 2, 1]) / 6
        data.qpos[:], data.qvel[:] = qpos, qvel + h * weights @ accelerations
        mujoco.mj_integratePos(m, data.qpos, weights @ rates, h)
        data.time += h


def _tangent_rate(mj_model: mujoco.MjModel, theta: np.ndarray, qvel: np.ndarray) -> np.ndarray:
    """Rate of the increment theta that moves q (+) theta with velocity qvel: J_r(theta)^-1 omega for
    rotations."""
    rate = qvel.copy()
    for kind, dof in zip(mj_model.jnt_type, mj_model.jnt_dofadr, strict=True):
        if kind in (FREE, BALL):
            dof += 3 * (kind == FREE)
            t, w = theta[dof : dof + 3], qvel[dof : dof + 3]
            angle = np.linalg.norm(t)
            # The limit is 1/12; below 1e-3 the rounding error of the closed form is larger than the error of the limit.
            c = 1 / angle**2 - (1 + np.cos(angle)) / (2 * angle * np.sin(angle)) if angle > 1e-3 else 1 / 12
            rate[dof : dof + 3] = w + np.cross(t, w) / 2 + c * np.cross(t, np.cross(t, w))
    return rate


# ----------------------------------------------------------------------------------------------- derivatives


@dataclass
class Derivative:
    """Jacobians [N, 2 nv, 2 nv + nu] at states [N, nq + nv] and controls [N, nu] away from switching."""

    state: np.ndarray
    ctrl: np.ndarray
    jacobian: np.ndarray
    own_error: np.ndarray  # [N], of the differences, from steps of two sizes
    tried: int  # number of states tried; those not used have a switch within the differences


def derivative(
    mj_model: mujoco.MjModel,
    count: int,
    num_steps: int,
    *,
    stepper: Step | None = None,
    step: float = 1e-6,
    seed: int = 0,
) -> Derivative:
    """Central differences of `num_steps` on the manifold, at visited states away from switching.

    A state is away from switching if, at every point of the differences, each evaluation of the dynamics (each
    Runge-Kutta stage of each step) has the same contacts and the same active and inactive constraint rows as from the
    state itself. The differences are extrapolated from two sizes of steps.

    Args:
        mj_model: the model.
        count: number of states, N.
        num_steps: physics steps.
        stepper: the simulator to differentiate; None for C MuJoCo, without states at which C MuJoCo finds a contact by
            iteration, because the error of such a contact is too large.
        step: of the differences in positions, rad, m; 10 times as large in velocities, 100 in controls. It is small
            compared to the depths, about 1e-3, over which the impedance of constraints changes.
        seed: of the states.
    """
    tracer = Tracer(mj_model)
    in_closed_form = stepper is None
    stepper = stepper or Stepper(mj_model)
    steps = difference_steps(mj_model, step)
    rows = []
    tried = 0
    for state, ctrl in zip(*visited_states(mj_model, 10 * count, num_steps, inside=True, seed=seed), strict=True):
        if len(rows) == count:
            break
        if in_closed_form and any(iterates(mj_model, s) for s in tracer.signatures(state, ctrl, num_steps)):
            continue
        tried += 1
        if switch(tracer, state, ctrl, num_steps, steps) is None:
            rows.append((state, ctrl, *extrapolated_differences(mj_model, stepper, state, ctrl, num_steps, steps)))
    return Derivative(*(np.array(column) for column in zip(*rows, strict=True)), tried)


def difference_steps(mj_model: mujoco.MjModel, step: float = 1e-6) -> np.ndarray:
    """Steps [2 nv + na + nu] of the differences in position, velocity, activation and control; see `derivative`."""
    nv, na, nu = mj_model.nv, mj_model.na, mj_model.nu
    return step * np.repeat([1.0, 10.0, 10.0, 100.0], [nv, nv, na, nu])


def extrapolated_differences(
    mj_model: mujoco.MjModel, stepper: Step, state: np.ndarray, ctrl: np.ndarray, num_steps: int, steps: np.ndarray
) -> tuple[np.ndarray, float]:
    """Jacobian [2 nv, 2 nv + nu] by central differences of two sizes, and its own relative error."""
    one, half = (_differences(mj_model, stepper, state, ctrl, num_steps, scale * steps) for scale in (1, 0.5))
    jacobian = (4 * half - one) / 3
    return jacobian, block_error(half, jacobian, mj_model.nv, mj_model.na)


def iterates(mj_model: mujoco.MjModel, signature: Signature) -> bool:
    """Whether C MuJoCo found a contact by iteration toward a point of a curved surface."""
    return searched(mj_model, np.frombuffer(signature[0], dtype=np.int32).reshape(-1, 2))


def searched(mj_model: mujoco.MjModel, geoms: np.ndarray) -> bool:
    """Whether C MuJoCo finds contacts of any of these pairs of geoms [n, 2] by such an iteration."""
    geom = mujoco.mjtGeom
    curved = {int(geom.mjGEOM_ELLIPSOID), int(geom.mjGEOM_CYLINDER)}
    kinds = [tuple(sorted(map(int, mj_model.geom_type[pair]))) for pair in geoms]
    capsule_on_cylinder = (int(geom.mjGEOM_CAPSULE), int(geom.mjGEOM_CYLINDER))
    return any(pair == capsule_on_cylinder or (pair in CONVEX and curved & set(pair)) for pair in kinds)


def _points(
    mj_model: mujoco.MjModel, state: np.ndarray, ctrl: np.ndarray, steps: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields states and controls displaced by a step along each coordinate, forward and backward."""
    for index, step in enumerate(steps):
        for sign in (1, -1):
            shift = np.zeros(len(steps))
            shift[index] = sign * step
            of_state, of_ctrl = np.split(shift, [2 * mj_model.nv + mj_model.na])
            yield displace(mj_model, state, of_state), ctrl + of_ctrl


def switch(tracer: Tracer, state: np.ndarray, ctrl: np.ndarray, num_steps: int, steps: np.ndarray) -> int | None:
    """Index of the part of a `signature` that differs between the centre and a point of the differences, or None."""
    centre = list(tracer.signatures(state, ctrl, num_steps))
    for point in _points(tracer.mj_model, state, ctrl, steps):
        for expected, actual in zip(centre, tracer.signatures(*point, num_steps), strict=True):
            if actual != expected:
                return [a == b for a, b in zip(actual, expected, strict=True)].index(False)
    return None


def _differences(
    mj_model: mujoco.MjModel, stepper: Step, state: np.ndarray, ctrl: np.ndarray, num_steps: int, steps: np.ndarray
) -> np.ndarray:
    """Jacobian [2 nv, 2 nv + nu] by central differences."""
    centre = stepper.step(state, ctrl, num_steps)
    ends = [
        difference(mj_model, centre, stepper.step(*point, num_steps)) for point in _points(mj_model, state, ctrl, steps)
    ]
    return np.array([(plus - minus) / (2 * s) for plus, minus, s in zip(ends[::2], ends[1::2], steps, strict=True)]).T
