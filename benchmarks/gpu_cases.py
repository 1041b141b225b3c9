"""Cases of `benchmarks.gpu`: the simulated tasks and three robots at states in contact, and their results in a file.

The file has results of the CPU in float64, for inputs that are numbers of float32: the same in both precisions.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

import diffsim
from benchmarks import robot_models
from diffsim.engine.compilation import Module, modules_of
from diffsim.tasks import RLLAB_TASKS, TASKS
from tests.diffsim.contact_reference import visited_states

ROBOTS = ("unitree_go2_mjx", "franka_emika_panda_mjx", "agility_cassie")
"""Robots by their files' names: legs on a plane, an arm with implicitfast, and closed loops."""
PARAMETERS = ("Ant-v5", "agility_cassie")
"""Cases with gradients by the masses of the bodies."""
JACOBIANS = ("Hopper-v5", "franka_emika_panda_mjx")
"""Cases with Jacobians, of the first few worlds."""
WORLDS, JACOBIAN_WORLDS = 16, 4
CONTROL_TIME = 0.02
"""Seconds for which a robot's control is held."""

Arrays = dict[str, np.ndarray]


class Case(NamedTuple):
    """A task, or a robot's file."""

    name: str
    file: Path | None = None

    def digest(self) -> np.ndarray:
        """A hash of a robot's file, uint8 [32]; empty for a task."""
        content = b"" if self.file is None else hashlib.sha256(self.file.read_bytes()).digest()
        return np.frombuffer(content, dtype=np.uint8)


class Skip(Exception):  # noqa: N818
    """Why something is not measured."""


def find_cases(robots: Path | None) -> dict[str, Case | Skip]:
    """The cases by name; in place of a robot that is not found, why.

    Args:
        robots: folder with robots' MJCF files, at any depth; None if there is none.
    """
    left_out = {*RLLAB_TASKS, "G1Walk-v0"}  # the robots below have meshes too
    found: dict[str, Case | Skip] = {id: Case(id) for id in TASKS if id not in left_out}
    for name in ROBOTS:
        file = None if robots is None else next(iter(sorted(robots.rglob(f"{name}.xml"))), None)
        where = "--robots is not given" if robots is None else f"there is no {name}.xml in {robots}"
        found[name] = Skip(where) if file is None else Case(name, file)
    return found


class Worlds:
    """Copies of a case's model on a device.

    Attributes:
        simulator: of the copies.
        num_steps: physics steps per control.
    """

    def __init__(self, case: Case, num_worlds: int, device: str) -> None:
        self.case, self.device = case, device
        self.task = diffsim.make(case.name, num_envs=num_worlds, device=device) if case.file is None else None
        if self.task is not None:
            self.simulator, self.num_steps = self.task.simulator, self.task.frame_skip
        else:
            mj_model = robot(case).mj_model
            self.simulator = diffsim.Simulator(diffsim.Model(mj_model), num_worlds, device=device)
            self.num_steps = max(1, round(CONTROL_TIME / mj_model.opt.timestep))

    def tensors(self, arrays: Arrays) -> tuple[Tensor, Tensor]:
        """State and action of the worlds, which repeat those of `arrays`."""
        index = np.arange(self.simulator.num_worlds) % len(arrays["state"])
        options = {"dtype": diffsim.dtype, "device": self.device}
        return torch.tensor(arrays["state"][index], **options), torch.tensor(arrays["action"][index], **options)

    def results(self, state: Tensor, action: Tensor) -> dict[str, Tensor]:
        """One control step from `state` with `action`, and gradients of a weighted sum of the next state."""
        state, action = (x.detach().requires_grad_() for x in (state, action))
        if self.task is not None:
            next_state = self.task.transition(state, action)
            values = {
                "next state": next_state,
                "observation": self.task.observation(next_state),
                "reward": self.task.reward(state, action, next_state),
            }
        else:
            next_state, evaluation = self.simulator.advance(state, action, self.num_steps)
            values = {"next state": next_state, "constraint force": evaluation.qfrc_constraint}
        total = weighted(next_state) + (values["reward"].sum() if "reward" in values else 0.0)
        slopes = torch.autograd.grad(total, [state, action])
        found = values | dict(zip(("state gradient", "action gradient"), slopes, strict=True))
        return {name: value.detach() for name, value in found.items()}

    def more_results(self, state: Tensor, action: Tensor) -> dict[str, Tensor]:
        """Gradients by masses, and Jacobians, for the cases that have them."""
        model, found = self.simulator.model, {}
        state = state[:, : model.nq + model.nv]
        if self.case.name in PARAMETERS:
            mass = torch.tensor(model.mj_model.body_mass, dtype=diffsim.dtype, device=self.device)
            mass = mass.repeat(len(state), 1).requires_grad_()
            last = self.simulator.step(state, action, self.num_steps, parameters={"body_mass": mass})
            (found["mass gradient"],) = torch.autograd.grad(weighted(last), mass)
        if self.case.name in JACOBIANS:
            parts = self.simulator.linearize(state, action)
            found["Jacobian"] = torch.cat(parts, dim=2)[:JACOBIAN_WORLDS]
        return found


def weighted(state: Tensor) -> Tensor:
    """A weighted sum of the entries of states [N, S]; all worlds have the same weights."""
    return (state * torch.linspace(0.5, 1.5, state.shape[1], dtype=state.dtype, device=state.device)).sum()


def robot(case: Case) -> robot_models.Robot:
    """A robot's model, with a solver that converges, and its start."""
    assert case.file is not None
    found = robot_models.load(case.file)
    if found is None:
        raise Skip("the simulator does not support its model")
    return found


def modules(case: Case) -> list[Module]:
    """The modules that a case launches on CUDA."""
    model = diffsim.make(case.name).simulator.model if case.file is None else diffsim.Model(robot(case).mj_model)
    return modules_of(model, parameters=case.name in PARAMETERS)


@cache
def visited(case: Case, count: int = WORLDS) -> Arrays:
    """States and actions [N, ...] on trajectories of C MuJoCo, in numbers of float32."""
    if case.file is not None:
        state, action = robot_models.visited(robot(case), count)
    else:
        task = diffsim.make(case.name, num_envs=count)
        physics, action = visited_states(task.mj_model, count, task.frame_skip, inside=True)
        parts = np.split(physics.astype(np.float32), [task.mj_model.nq], axis=1)
        state = task.state_at(*(torch.tensor(part, dtype=diffsim.dtype) for part in parts)).numpy()
    return {"state": state.astype(np.float32), "action": action.astype(np.float32)}


def make_reference(case: Case) -> Arrays:
    """Inputs of a case, and its results on the CPU; with a hash of a robot's file."""
    arrays = visited(case)
    worlds = Worlds(case, WORLDS, "cpu")
    inputs = worlds.tensors(arrays)
    found = worlds.results(*inputs) | worlds.more_results(*inputs)
    return arrays | {name: value.numpy() for name, value in found.items()} | {"digest": case.digest()}


def write_reference(results: Mapping[str, Arrays], path: Path) -> None:
    """Writes the arrays of all cases to one file."""
    named = {f"{case}/{name}": value for case, arrays in results.items() for name, value in arrays.items()}
    np.savez_compressed(path, allow_pickle=False, **named)


def read_reference(case: Case, path: Path) -> Arrays:
    """The arrays of a case.

    Raises: Skip if there are none, or if the robot's file has changed since.
    """
    with np.load(path) as file:
        names = [name for name in file.files if name.startswith(f"{case.name}/")]
        arrays = {name.split("/", 1)[1]: file[name] for name in names}
    if not arrays:
        raise Skip(f"{path.name} has no results for it")
    if not np.array_equal(arrays.pop("digest"), case.digest()):
        raise Skip(f"its file is not the one of {path.name}")
    return arrays


def error(name: str, found: np.ndarray, expected: np.ndarray) -> float:
    """Largest error of a world, relative to its largest entry (of gradients), or to 1 + this (of values)."""
    axes = tuple(range(1, expected.ndim))
    size = np.abs(expected).max(axes) + (0.0 if "gradient" in name or name == "Jacobian" else 1.0)
    return float((np.abs(found - expected).max(axes) / size).max())
