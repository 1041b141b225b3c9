"""Checks of a task: the simulator against C MuJoCo, gradients against finite differences, and what an MDP promises."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium
import mujoco
import numpy as np
import torch
from torch import Tensor

from diffsim.checks import require
from diffsim.tasks.find import check_options, task_class
from diffsim.tasks.official import OfficialEnv, official_env, on_c_mujoco
from diffsim.tasks.task import Task

STEP = 1e-6
"""Step of finite differences, in float64."""
EPISODE_STEPS = 10
"""Steps of the episode in the evaluation environment; errors grow along an episode."""
MAX_PROBLEMS = 5
"""Problems that a check lists."""


@dataclass(frozen=True)
class Check:
    """Result of one check.

    Attributes:
        name: what was checked.
        problems: one line each; none if the check passed.
        detail: what was measured.
    """

    name: str
    problems: tuple[str, ...] = ()
    detail: str = ""

    def __str__(self) -> str:
        lines = [f"  {'FAIL' if self.problems else 'ok  '}  {self.name}{': ' * bool(self.detail)}{self.detail}"]
        return "\n".join(lines + [f"          {problem}" for problem in self.problems])


@dataclass(frozen=True)
class TaskReport:
    """Results of `check_task`; `str` gives them as text.

    Attributes:
        title: the task, and the size of the sample.
        checks: in the order in which they ran. After a wrong shape, or a function that is not pure, no more checks run.
    """

    title: str
    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        """Whether every check passed."""
        return not any(check.problems for check in self.checks)

    def __str__(self) -> str:
        return "\n".join([self.title, *map(str, self.checks), "ok" if self.ok else "FAILED"])


def check_task(
    task: str | type[Task],
    *,
    num_envs: int = 16,
    num_steps: int = 50,
    seed: int = 0,
    device: str = "cpu",
    tolerance: float | None = None,
    **options: Any,
) -> TaskReport:
    """Compares a task on the simulator with the same task on C MuJoCo, and checks what its functions promise.

    From the states of `num_envs` episodes of random actions: next state, observation, reward and termination against
    C MuJoCo in float64; gradients of transition, reward and observation against finite differences; one episode of
    the environment in which policies are evaluated. Also: shapes and types, reset states, and that the functions
    return the same for the same input, change nothing in place, and treat each world on its own.

    Args:
        task: id, as for `diffsim.make`, or class.
        num_envs: number of worlds, N >= 2.
        num_steps: steps of each world, >= 1.
        seed: of initial states and actions.
        device: where to simulate.
        tolerance: largest difference of values, relative to the largest magnitude of each where that exceeds 1; None
            for 1e-6 in float64 and 1e-3 in float32. Gradients may differ by ten times more.
        **options: of the task.

    Returns: the report.

    Raises: as `diffsim.make`; ValueError if a number is out of range.
    """
    for name, value, least in (("num_envs", num_envs, 2), ("num_steps", num_steps, 1)):
        require(type(value) is int and value >= least, name, f"an int >= {least}", repr(value))
    require(tolerance is None or tolerance > 0, "tolerance", "> 0 or None", tolerance)
    cls = task_class(task)
    check_options(task, cls, options)
    ours = cls(num_envs=num_envs, device=device, **options)
    exact = on_c_mujoco(cls)(num_envs=num_envs, **options)
    if tolerance is None:
        tolerance = 1e-6 if ours.dtype == torch.float64 else 1e-3
    title = f"{cls.__name__}: {num_envs} worlds, {num_steps} steps, {str(ours.dtype).removeprefix('torch.')}"
    generator = torch.Generator(ours.device).manual_seed(seed)
    checks = [_check_actions(ours), *_check_shapes(ours, seed)]
    if any(check.problems for check in checks):
        return TaskReport(title, tuple(checks))
    sample = _Sample.draw(ours, num_steps, generator)
    checks += [_check_purity(ours, sample), _check_worlds(ours, sample)]
    if checks[-2].problems:
        return TaskReport(title, tuple(checks))
    last = sample.exact(num_steps - 1)
    size = ours.physics_size  # extras may be held constant
    stepped, simulated = (lambda *pair, mdp=mdp: mdp.transition(*pair)[:, :size] for mdp in (exact, ours))
    checks += [
        _check_values(ours, exact, sample, tolerance),
        _check_gradient("transition", stepped, last[:2], 10 * tolerance, differentiated=simulated, like=sample.state),
        _check_gradient("reward", exact.reward, last, 10 * tolerance),
        _check_gradient("observation", exact.observation, last[:1], 10 * tolerance),
        _check_episode(task, cls, options, seed, tolerance),
    ]
    return TaskReport(title, tuple(checks))


@dataclass(frozen=True)
class _Sample:
    """Transitions of the task on the simulator: state, action and next_state, [T, N, ...] each."""

    state: Tensor
    action: Tensor
    next_state: Tensor

    @classmethod
    @torch.no_grad()
    def draw(cls, task: Task, num_steps: int, generator: torch.Generator) -> _Sample:
        """Episodes of uniform random actions, reset where they end."""
        low, high = (torch.as_tensor(x, device=task.device) for x in (task.action_space.low, task.action_space.high))
        state, rows = task.initial(generator), []
        for _ in range(num_steps):
            unit = torch.rand(task.num_envs, len(low), generator=generator, dtype=task.dtype, device=task.device)
            action = low + (high - low) * unit
            next_state = task.transition(state, action)
            rows.append((state, action, next_state))
            state = torch.where(task.terminal(next_state)[:, None], task.initial(generator), next_state)
        return cls(*(torch.stack(column) for column in zip(*rows, strict=True)))

    def at(self, time: int) -> tuple[Tensor, Tensor, Tensor]:
        """The transitions of one time step."""
        return self.state[time], self.action[time], self.next_state[time]

    def exact(self, time: int) -> tuple[Tensor, Tensor, Tensor]:
        """The transitions of one time step in float64, on the CPU."""
        return self.state[time].double().cpu(), self.action[time].double().cpu(), self.next_state[time].double().cpu()


def _functions(task: Task) -> dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]]:
    """The task's functions, all with the arguments of `reward`."""
    return {
        "transition": lambda state, action, next_state: task.transition(state, action),
        "observation": lambda state, action, next_state: task.observation(next_state),
        "reward": task.reward,
        "terminal": lambda state, action, next_state: task.terminal(next_state),
    }


def _check_actions(task: Task) -> Check:
    """Every actuator has a range."""
    problems = []
    for index, (low, high) in enumerate(zip(task.action_space.low, task.action_space.high, strict=True)):
        if not low < high:
            name = mujoco.mj_id2name(task.mj_model, mujoco.mjtObj.mjOBJ_ACTUATOR, index) or f"#{index}"
            problems.append(f"actuator {name}: ctrlrange must be an interval, got [{low:g}, {high:g}]")
    return Check("action space", tuple(problems), f"{task.mj_model.nu} actions")


@torch.no_grad()
def _check_shapes(task: Task, seed: int) -> list[Check]:
    """Reset states, and shapes and types of the functions at them."""
    model, num_envs, floating = task.mj_model, task.num_envs, task.dtype
    draws = [torch.Generator(task.device).manual_seed(seed) for _ in range(3)]
    qpos, qvel = task.reset_model(draws[0])
    problems = [
        *_shape_problem("qpos of reset_model", qpos, (num_envs, model.nq), floating),
        *_shape_problem("qvel of reset_model", qvel, (num_envs, model.nv), floating),
        *_shape_problem("reset_act", task.reset_act(draws[0]), (num_envs, model.na), floating),
    ]
    if problems:
        return [Check("reset", tuple(problems))]
    state = task.initial(draws[1])
    if not torch.equal(state, task.initial(draws[2])):
        problems.append("reset states must be the same for the same seed")
    action, physics = torch.zeros(num_envs, model.nu, dtype=floating, device=task.device), task.physics_size
    obs, terminal, reward = task.observation(state), task.terminal(state), task.reward(state, action, state)
    shapes = [
        *_shape_problem("extras", state[:, physics:], (num_envs, task.state_size - physics), floating),
        *_shape_problem("observation", obs, (num_envs, *task.observation_space.shape), floating),
        *_shape_problem("reward", reward, (num_envs,), floating),
        *_shape_problem("terminal", terminal, (num_envs,), torch.bool),
    ]
    for world in range(num_envs):
        row = obs[world].cpu().numpy().astype(task.observation_space.dtype)
        if not state[world].isfinite().all():
            problems.append(f"world {world}: state must be finite, got {state[world].tolist()}")
        elif not task.observation_space.contains(row):
            problems.append(f"world {world}: observation must be in observation_space, got {row.tolist()}")
        elif terminal.shape == (num_envs,) and terminal[world]:
            problems.append(f"world {world}: the reset state is terminal")
    return [Check("shapes and types", tuple(shapes)), Check("reset", tuple(problems[:MAX_PROBLEMS]))]


def _shape_problem(name: str, value: Tensor, shape: tuple[int, ...], dtype: torch.dtype) -> Iterator[str]:
    """A line if a tensor does not have the shape and type it should have."""
    if tuple(value.shape) != shape or value.dtype != dtype:
        yield f"{name} must be {dtype} of shape {shape}, got {value.dtype} of shape {tuple(value.shape)}"


@torch.no_grad()
def _check_purity(task: Task, sample: _Sample) -> Check:
    """The same input gives the same output, and is left as it was."""
    problems = []
    for name, function in _functions(task).items():
        inputs = tuple(part.clone() for part in sample.at(-1))
        first = function(*inputs).clone()
        for label, given, before in zip(("state", "action", "next_state"), inputs, sample.at(-1), strict=True):
            if not torch.equal(given, before):
                world, index = torch.nonzero(given != before)[0].tolist()
                problems.append(f"{name} changes {label} in place, at world {world}, index {index}")
        if not torch.equal(function(*(part.clone() for part in sample.at(-1))), first):
            problems.append(f"{name} must return the same for the same input")
    return Check("pure functions", tuple(problems))


@torch.no_grad()
def _check_worlds(task: Task, sample: _Sample) -> Check:
    """The result of a world depends on that world only."""
    problems, half = [], task.num_envs // 2
    # The first worlds stay as they are; the others are replaced by those of the reset and put in another order.
    mixed = [torch.cat([part[:half], other[half:].flip(0)]) for part, other in zip(sample.at(-1), sample.at(0))]  # noqa: B905
    tolerance = 1e3 * torch.finfo(task.dtype).eps  # functions of vectors of other lengths differ in the last bits
    for name, function in _functions(task).items():
        alone, together = function(*sample.at(-1))[:half], function(*mixed)[:half]
        if line := _largest(alone[None], together[None], tolerance)[1].removeprefix("step 0, "):
            problems.append(f"{name} depends on other worlds: {line} with other worlds replaced")
    return Check("each world on its own", tuple(problems))


@torch.no_grad()
def _check_values(ours: Task, exact: Task, sample: _Sample, tolerance: float) -> Check:
    """Values on the simulator and on C MuJoCo, from the same states."""
    found, expected = [], []
    for time in range(len(sample.state)):
        state, action, _ = sample.exact(time)
        found.append(_values(ours, *sample.at(time)))
        expected.append(_values(exact, state, action, exact.transition(state, action)))
    largest, problems = _compare(found, expected, tolerance)
    detail = f"largest difference {largest:.1e}, {tolerance:.0e} allowed"
    return Check("values against C MuJoCo", tuple(problems), detail)


def _values(task: Task, state: Tensor, action: Tensor, next_state: Tensor) -> dict[str, Tensor]:
    """All values of a transition, on the CPU: [N, ...] each."""
    values = dict(zip(("qpos", "qvel", "extras"), task.split(next_state), strict=True))
    values |= {"act": task.act(next_state)}
    values |= {name: f(state, action, next_state) for name, f in _functions(task).items() if name != "transition"}
    return {name: value.cpu() for name, value in values.items()}


def _compare(
    found: Sequence[dict[str, Tensor]], expected: Sequence[dict[str, Tensor]], tolerance: float
) -> tuple[float, list[str]]:
    """The largest of all differences, and a line for each name whose values differ; one dictionary for each step."""
    errors, problems = [0.0], []
    for name in found[0]:
        ours, theirs = (torch.stack([values[name] for values in column]) for column in (found, expected))
        error, line = _largest(ours, theirs, tolerance)
        errors.append(error)
        problems += [f"{name} differs: {line}"] if line else []
    return max(errors), problems


def _largest(found: Tensor, expected: Tensor, tolerance: float) -> tuple[float, str]:
    """The largest difference of values [T, N, ...], relative to each column's size; a line about it if it is too large.

    The size of a column is its largest magnitude, and at least 1.
    """
    found, expected = (part.double().reshape(*part.shape[:2], -1) for part in (found, expected))
    if not found.numel():
        return 0.0, ""
    size = expected.abs().amax((0, 1), keepdim=True).clamp_min(1)
    error = torch.nan_to_num((found - expected).abs() / size, nan=torch.inf)
    time, world, index = np.unravel_index(int(error.argmax()), error.shape)
    largest = float(error[time, world, index])
    if largest <= tolerance:
        return largest, ""
    values = f"{found[time, world, index]:.8g} on the simulator, {expected[time, world, index]:.8g} expected"
    return largest, f"step {time}, world {world}, index {index}: {values}"


def _check_gradient(
    name: str,
    function: Callable[..., Tensor],
    inputs: Sequence[Tensor],
    tolerance: float,
    *,
    differentiated: Callable[..., Tensor] | None = None,
    like: Tensor | None = None,
) -> Check:
    """Derivatives of a random combination of a function's outputs along a random direction of each input.

    Points where the differences to both sides disagree are left out: a function has no derivative at a switch.

    Args:
        name: of the function.
        function: from tensors [N, ...] to [N] or [N, K], in float64.
        inputs: where to differentiate.
        tolerance: relative.
        differentiated: the function whose gradient is checked; None for `function`.
        like: of the type and on the device of the arguments of `differentiated`; None for those of `inputs`.
    """
    generator, problems, left_out, checked = torch.Generator().manual_seed(0), [], 0, 0
    leaves = [part.to(part if like is None else like).requires_grad_() for part in inputs]
    output = (differentiated or function)(*leaves)
    weight = torch.randn(output.shape, generator=generator, dtype=torch.float64)
    total = (output * weight.to(output)).sum()
    gradients = torch.autograd.grad(total, leaves, allow_unused=True) if total.requires_grad else [None] * len(leaves)

    def values(index: int, shift: Tensor) -> Tensor:
        moved = [part + shift if i == index else part for i, part in enumerate(inputs)]
        with torch.no_grad():
            return (function(*moved) * weight).reshape(len(weight), -1).sum(1)

    labels = ("state", "action", "next_state")
    for index, (label, gradient) in enumerate(zip(labels, gradients, strict=False)):
        direction = torch.randn(inputs[index].shape, generator=generator, dtype=torch.float64)
        found = torch.zeros(len(weight)).double()
        if gradient is not None:
            found = (gradient.detach().double().cpu() * direction).sum(1)
        after, here, before = (values(index, sign * STEP * direction) for sign in (1, 0, -1))
        expected, ahead, behind = (after - before) / (2 * STEP), (after - here) / STEP, (here - before) / STEP
        size = found.abs() + expected.abs() + 1e-3 * (expected.abs().max() + 1e-3)
        smooth = (ahead - behind).abs() <= tolerance * size
        wrong = smooth & ~((found - expected).abs() <= tolerance * size) | ~found.isfinite()
        left_out, checked = left_out + int((~smooth).sum()), checked + len(smooth)
        for world in torch.nonzero(wrong)[:, 0].tolist()[:1]:
            problems.append(
                f"by {label}: world {world}, along a random direction: {found[world]:.6g} by autograd, "
                f"{expected[world]:.6g} by finite differences ({int(wrong.sum())} of {len(wrong)} worlds)"
            )
    detail = f"{checked - left_out} points" + (f", {left_out} at switches left out" if left_out else "")
    return Check(f"gradient of {name}", tuple(problems), detail)


@torch.no_grad()
def _check_episode(task: str | type[Task], cls: type[Task], options: dict, seed: int, tolerance: float) -> Check:
    """An episode of the environment in which policies are evaluated against the task's functions on C MuJoCo."""
    env, exact = official_env(task, **options), on_c_mujoco(cls)(num_envs=1, **options)
    env.reset(seed=seed)
    env.action_space.seed(seed)
    data: Any = env.unwrapped.data  # pyright: ignore[reportAttributeAccessIssue]
    if isinstance(env.unwrapped, OfficialEnv):
        state = env.unwrapped.state
    else:
        qpos, qvel, act = (torch.as_tensor(part.copy())[None] for part in (data.qpos, data.qvel, data.act))
        state = exact.state_at(qpos, qvel, act=act)
    found, expected = [], []
    for _ in range(EPISODE_STEPS):
        action = env.action_space.sample()
        obs, reward, terminated, truncated, _ = env.step(action)
        inputs = (state, torch.as_tensor(action)[None].double())
        state = exact.transition(*inputs)
        values = {"observation": gymnasium.spaces.flatten(env.observation_space, obs)}
        values |= {"reward": reward, "terminal": terminated}
        found.append({name: torch.as_tensor(np.asarray(value)).reshape(1, -1) for name, value in values.items()})
        expected.append({name: value.reshape(1, -1) for name, value in _values(exact, *inputs, state).items()})
        if terminated or truncated:
            break
    env.close()
    lines = _compare(found, expected, tolerance)[1]
    problems = tuple(line.replace("on the simulator", "in the environment") for line in lines)
    return Check("evaluation environment", problems, f"{len(found)} steps")
