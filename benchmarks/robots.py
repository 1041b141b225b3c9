"""Accuracy and speed of the simulator on given models, for example real robots, beside C MuJoCo.

Accuracy in float32: each model walks from its first keyframe under random controls, and each step is compared with C
MuJoCo's from the same state. In float64 (`benchmarks.robots_float64`, in a process of its own): steps and Jacobians
beside C MuJoCo, and gradients beside those in float32. Speed: processor time on one core, by degrees of freedom, of
the models, of several copies of them in one world, and of Gymnasium's tasks.

    python -m benchmarks.robots MODELS --steps 1000 --worlds 16
"""

from __future__ import annotations

import argparse
import math
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import mujoco
import numpy as np
import torch

import diffsim
from benchmarks import robot_models
from benchmarks.command import make_parser, page, parse, positive, table
from benchmarks.peers import Problem, diffsim_work, mj_step_work
from benchmarks.physics import best_times
from benchmarks.physics import prepare as prepare_task
from benchmarks.robot_models import MujocoStep, Robot
from benchmarks.runs import write_rows
from diffsim.tasks import TASKS

SAMPLES = 64
"""States of a walk whose gradients are compared in both precisions."""
GROUPS = {(1, 6): 1.0, (7, 15): 1.0, (16, 30): 1.0, (31, 60): 1.3, (61, 130): 2.0}
"""Degrees of freedom of each group, and the target of its median of forward / mj_step."""


@dataclass
class Accuracy:
    """Errors of one model: of steps and gradients in float32, and of steps and Jacobians in float64."""

    model: str
    nv: int
    failed: str
    median: float
    percentile99: float
    worst: float
    cosine_median: float = math.nan
    cosine_worst: float = math.nan
    float64_step: float = math.nan
    float64_jacobian: float = math.nan
    smooth_states: int = 0

    @property
    def cells(self) -> list[str]:
        """A line of the table."""
        numbers = (self.median, self.percentile99, self.worst)
        cosines = (1 - self.cosine_median, 1 - self.cosine_worst)
        parity = (self.float64_step, self.float64_jacobian)
        texts = [f"{number:.0e}" for number in (*numbers, *cosines, *parity)]
        return [self.model, str(self.nv), self.failed or "-", *texts, str(self.smooth_states)]


@dataclass
class Speed:
    """Microseconds per world and physics step."""

    model: str
    nv: int
    mj_step: float
    forward: float
    both: float

    @property
    def cells(self) -> list[str]:
        """A line of the table."""
        times = self.mj_step, self.forward, self.both, self.forward / self.mj_step, self.both / self.mj_step
        return [self.model, str(self.nv), *(f"{value:.2f}" for value in times)]


def walk(robot: Robot, steps: int, worlds: int) -> tuple[Accuracy, dict[str, np.ndarray]]:
    """Walks by our steps, compares each with C MuJoCo's, and takes gradients at states spread over the walk."""
    rng = np.random.default_rng(0)
    simulator, truth = diffsim.Simulator(diffsim.Model(robot.mj_model), worlds), MujocoStep(robot.mj_model)
    state = torch.tensor(robot_models.starts(robot, worlds, rng), dtype=diffsim.dtype)
    ctrls = torch.tensor(robot_models.controls(robot, steps, worlds, rng), dtype=diffsim.dtype)
    errors, states, failed = [], [], ""
    for index, ctrl in enumerate(ctrls):
        expected = truth(state.double().numpy(), ctrl.double().numpy())
        if truth.failed():
            failed = f"C MuJoCo at step {index}"
            break
        try:
            reached = simulator.step(state, ctrl)
        except (FloatingPointError, diffsim.ContactOverflowError) as error:
            failed = f"{type(error).__name__} at step {index}"
            break
        error = np.abs(reached.double().numpy() - expected).max(1)
        errors.append(error / (1 + np.abs(expected).max(1)))
        states.append(state)
        state = reached
    if not errors:
        raise RuntimeError(f"{robot.name}: {failed}, the first one")
    median, percentile99, worst = np.quantile(errors, (0.5, 0.99, 1.0)).tolist()
    accuracy = Accuracy(robot.name, robot.mj_model.nv, failed, median, percentile99, worst)
    return accuracy, gradients(robot, torch.stack(states), ctrls[: len(states)], rng)


def gradients(robot: Robot, states: torch.Tensor, ctrls: torch.Tensor, rng: np.random.Generator) -> dict:
    """Gradients of random linear functions of the next state, at SAMPLES of states [H, N, nq + nv]."""
    picked = rng.choice(states[..., 0].numel(), min(SAMPLES, states[..., 0].numel()), replace=False)
    state, ctrl = (x.flatten(0, 1)[picked].clone().requires_grad_() for x in (states, ctrls))
    weight = torch.tensor(rng.standard_normal(state.shape), dtype=diffsim.dtype)
    simulator = diffsim.Simulator(diffsim.Model(robot.mj_model), len(picked))
    torch.autograd.backward(simulator.step(state, ctrl), weight)
    parts = [x.grad for x in (state, ctrl) if x.grad is not None]
    arrays = {"state": state, "ctrl": ctrl, "weight": weight, "gradient": torch.cat(parts, dim=1)}
    return {name: value.detach().numpy() for name, value in arrays.items()}


def compare_in_float64(rows: list[Accuracy], paths: list[Path], arrays: dict[str, np.ndarray]) -> None:
    """Completes rows by `benchmarks.robots_float64`, as the import of diffsim sets the precision."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "float32.npz", Path(folder) / "float64.npz"
        np.savez(source, allow_pickle=False, **arrays)
        command = [sys.executable, "-m", "benchmarks.robots_float64", str(source), str(target), *map(str, paths)]
        subprocess.run(command, check=True, cwd=Path(__file__).parents[1])
        with np.load(target) as results:
            for index, row in enumerate(rows):
                cosine = results[f"{index}/cosine"]
                row.cosine_median, row.cosine_worst = float(np.median(cosine)), float(cosine.min())
                row.float64_step, row.float64_jacobian, smooth = results[f"{index}/parity"].tolist()
                row.smooth_states = int(smooth)


def time_problem(name: str, problem: Problem, seconds: float) -> Speed:
    """Times C MuJoCo, our step, and our step with the gradient of one scalar; one physics step of each world."""
    problem = problem._replace(frame_skip=1)
    robot_models.converge(problem.mj_model, 1e-8)
    works = mj_step_work(problem) | diffsim_work(problem)
    times = best_times({kind: works[kind] for kind in ("mj_step", "forward", "both")}, "cpu", seconds)
    return Speed(name, problem.mj_model.nv, *(1e6 * value / len(problem.state) for value in times.values()))


def problems(robots: dict[Path, Robot], options: argparse.Namespace) -> list[tuple[str, Problem]]:
    """Models, composites of those with a free base, and tasks, at visited states."""
    chosen = list(robots.values())
    for path, robot in robots.items():
        if robot.mj_model.njnt and robot.mj_model.jnt_type[0] == mujoco.mjtJoint.mjJNT_FREE:
            fitting = [n for n in options.copies if n * robot.mj_model.nv <= max(high for _, high in GROUPS)]
            chosen += filter(None, (robot_models.composite(path, robot, copies) for copies in fitting))
    visited = [(r.name, r.mj_model, robot_models.visited(r, options.speed_worlds)) for r in chosen]
    result = [(name, Problem(mj_model, 1, *states, "cpu")) for name, mj_model, states in visited]
    return result + [(id, prepare_task(id, options.speed_worlds, "cpu")) for id in options.tasks]


def group_rows(rows: list[Speed]) -> list[list[object]]:
    """Medians of the ratios to C MuJoCo in each of GROUPS."""
    lines = []
    for (low, high), target in GROUPS.items():
        ratios = [(r.forward / r.mj_step, r.both / r.mj_step) for r in rows if low <= r.nv <= high]
        if ratios:
            forward, both = np.median(ratios, axis=0)
            lines.append([f"{low} to {high}", len(ratios), f"{forward:.2f}", f"{both:.2f}", f"{target:g}"])
    return lines


def save(accuracy: list[Accuracy], speed: list[Speed], options: argparse.Namespace, tried: int) -> None:
    """Writes robots.md, accuracy.csv and speed.csv."""
    header = (
        "model | nv: | failed | median: | 99th percentile: | worst: | 1 - cosine, median: | worst: | float64 step: | "
        "float64 Jacobian: | smooth states:"
    )
    times = "model | nv: | mj_step: | forward: | fwd+bwd: | forward / mj_step: | fwd+bwd / mj_step:"
    text = page(
        "Robots",
        f"robots MODELS --steps {options.steps} --worlds {options.worlds}",
        f"The simulator accepts {len(accuracy)} of {tried} models.",
        "## Accuracy",
        f"{options.steps} random steps of {options.worlds} worlds from the first keyframe, with float32 tensors: "
        "relative error (largest difference / (1 + largest number of the state)) of each step beside C MuJoCo's from "
        "the same state, converged. Cosine: between gradients of random linear functions of the next state with "
        "float32 and with float64 tensors. float64: relative errors of steps and, at smooth states, of Jacobians "
        "beside C MuJoCo and its central differences, the largest at visited states. A state is not smooth where a "
        "contact or constraint switches between the points of the differences.",
        table(header, [row.cells for row in accuracy]),
        "## Speed",
        "Microseconds of processor time per world and physics step, on one core, at visited states, with float32 "
        f"tensors and {options.speed_worlds} worlds. C MuJoCo: `mujoco.rollout` without threads. Both solve by "
        "Newton's method from a cold start; C MuJoCo with tolerance 1e-8.",
        table("nv | models: | forward / mj_step: | fwd+bwd / mj_step: | target of forward:", group_rows(speed)),
        table(times, [row.cells for row in sorted(speed, key=lambda row: row.nv)]),
    )
    (options.output / "robots.md").write_text(text)
    for rows, name in ((accuracy, "accuracy.csv"), (speed, "speed.csv")):
        if rows:
            write_rows(rows, options.output / name, "{:.3g}".format)


def parser() -> argparse.ArgumentParser:
    """Options of the program."""
    result = make_parser("robots", __doc__)
    add = result.add_argument
    add("models", nargs="+", type=Path, help="MJCF files, or folders of them")
    add("--steps", type=positive(int), default=1000, help="of a walk, default 1000")
    add("--worlds", type=positive(int), default=16, help="of a walk, default 16")
    add("--speed-worlds", type=positive(int), default=256, metavar="N", help="worlds that are timed, default 256")
    add("--copies", nargs="*", type=int, default=[2, 3, 4], metavar="N", help="of composites, default 2 3 4")
    add("--tasks", nargs="*", choices=list(TASKS), default=list(TASKS), metavar="ID", help="timed; default: all")
    add("--seconds", type=positive(float), default=0.2, help="length of each of five repeats, default 0.2")
    return result


def main(arguments: list[str] | None = None) -> None:
    """Measures, prints and saves."""
    options = parse(parser(), arguments)
    paths = robot_models.files(options.models)
    robots = {path: robot for path in paths if (robot := robot_models.load(path))}
    accuracy, arrays = [], {}
    for index, robot in enumerate(robots.values()):
        row, found = walk(robot, options.steps, options.worlds)
        accuracy.append(row)
        arrays |= {f"{index}/{name}": value for name, value in found.items()}
    compare_in_float64(accuracy, [path.resolve() for path in robots], arrays)
    for row in accuracy:
        print(*row.cells, sep=" | ", flush=True)
    if hasattr(os, "sched_setaffinity"):  # bind the process and its threads to one core
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    speed = []
    for name, problem in problems(robots, options):
        speed.append(time_problem(name, problem, options.seconds))
        print(*speed[-1].cells, sep=" | ", flush=True)
    save(accuracy, speed, options, len(paths))


if __name__ == "__main__":
    mujoco.set_mju_user_warning(lambda message: None)
    main()
