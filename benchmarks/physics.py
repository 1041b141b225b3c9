"""Speed of the simulator beside C MuJoCo and other simulators of the same models, measured in one run.

On the CPU each number is microseconds of processor time per world and physics step (one mj_step), with the process
bound to one core. All engines start from the same visited states in contact, hold the same random controls, and take
the task's `frame_skip` steps per call. Peers that are not installed are skipped.

    python -m benchmarks.physics --tasks Hopper-v5 --batches 256 --peers transition_fd
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
from dataclasses import astuple, dataclass
from itertools import product
from pathlib import Path

import mujoco
import numpy as np
import torch

import diffsim
from benchmarks.command import RESULTS, describe_machine, make_parser, page, parse, positive, table
from benchmarks.peers import PEERS, Problem, Work, diffsim_work, missing, mj_step_work
from benchmarks.runs import write_rows
from diffsim.tasks import TASKS
from tests.diffsim.contact_reference import visited_states

BATCHES = {"cpu": [1, 256], "cuda": [64, 1024, 8192]}
BOUND_BATCH = 256
# MJX compiles the gradient of each task for minutes (cached in ~/.cache), mujoco_warp for one minute.
PEER_TASKS = ["HalfCheetah-v5", "Hopper-v5", "Ant-v5", "Humanoid-v5"]
RATIOS = {
    "forward / mj_step": ("forward", "mj_step", "<=", 1.5),
    "fwd+bwd / forward": ("both", "forward", "<=", 4.0),
    "MJX / forward": ("mjx_forward", "forward", ">=", 3.0),
    "MJX fwd+bwd / fwd+bwd": ("mjx_both", "both", ">=", 3.0),
}
"""Ratios of times, each with a bound."""
HEADER = (
    "task | device | batch: | mj_step: | forward: | fwd+bwd: | Jacobian: | transitionFD: | mujoco_warp: | MJX: | "
    "MJX fwd+bwd: | " + " | ".join(f"{title}:" for title in RATIOS)
)


@dataclass
class Row:
    """One line of the table; times in microseconds per world and physics step, nan where not measured."""

    task: str
    device: str
    batch: int
    mj_step: float = math.nan
    forward: float = math.nan
    both: float = math.nan
    linearize: float = math.nan
    transition_fd: float = math.nan
    mujoco_warp: float = math.nan
    mjx_forward: float = math.nan
    mjx_both: float = math.nan

    def ratio(self, title: str) -> float:
        """One of RATIOS."""
        above, below, *_ = RATIOS[title]
        return getattr(self, above) / getattr(self, below)

    @property
    def cells(self) -> list[str]:
        """A line of the table."""
        task, device, batch, *times = astuple(self)
        values = [*times, *map(self.ratio, RATIOS)]
        return [task, device, str(batch), *("-" if math.isnan(value) else f"{value:.2f}" for value in values)]


def best_times(works: dict[str, Work], device: str, seconds: float, repeats: int = 5) -> dict[str, float]:
    """Seconds per call: the best of `repeats` of about `seconds` each, in turns, as the machine may be shared."""
    clock = time.process_time if device == "cpu" else time.perf_counter
    counts = {}
    for name, work in works.items():
        work.call()
        start = clock()
        work.call()
        counts[name] = max(1, round(seconds / max(clock() - start, 1e-6)))
    best = dict.fromkeys(works, math.inf)
    for _ in range(repeats):
        for name, work in works.items():
            start = clock()
            for _ in range(counts[name]):
                work.call()
            best[name] = min(best[name], (clock() - start) / counts[name])
    return best


def prepare(id: str, batch: int, device: str) -> Problem:
    """A task at states that C MuJoCo visits; at most 256 different states."""
    task = diffsim.make(id)
    state, ctrl = visited_states(task.mj_model, min(batch, 256), task.frame_skip)
    index = np.arange(batch) % len(state)
    return Problem(task.mj_model, task.frame_skip, state[index], ctrl[index], device)


def measure(problem: Problem, row: Row, peers: list[str], seconds: float) -> None:
    """Times our simulator, C MuJoCo and the peers on one problem, into `row`; prints which peers cannot run it."""
    works = mj_step_work(problem) | diffsim_work(problem)
    for peer in peers:
        try:
            works |= PEERS[peer](problem)
        except NotImplementedError as error:
            print(f"{row.task}: {peer} skipped: {error}", flush=True)
    for name, elapsed in best_times(works, problem.device, seconds).items():
        setattr(row, name, 1e6 * elapsed / (row.batch * works[name].steps))


def verdicts(rows: list[Row]) -> list[str]:
    """Whether each bound holds, on the CPU at 256 worlds."""
    rows = [row for row in rows if row.device == "cpu" and row.batch == BOUND_BATCH]
    lines = []
    for name, (*_, sign, bound) in RATIOS.items():
        found = {row.task: value for row in rows if not math.isnan(value := row.ratio(name))}
        missed = {id: value for id, value in found.items() if (value > bound if sign == "<=" else value < bound)}
        count = f"holds on {len(found) - len(missed)} of {len(found)} tasks" if found else "not measured"
        text = f"{name} {sign} {bound:g} at {BOUND_BATCH} worlds on the CPU: {count}"
        misses = ", ".join(f"{id} {value:.2f}" for id, value in missed.items())
        lines.append(text + (f"; missed on {misses}" if missed else ""))
    return lines


def gpu_table(rows: list[Row]) -> list[str]:
    """Heading and table of the physics steps of all worlds per second on CUDA; empty without rows."""
    lines = []
    for row in rows:
        if row.device == "cuda":
            times = row.forward, row.both, row.mujoco_warp
            lines.append([row.task, row.batch, *("-" if math.isnan(t) else f"{1e6 / t:,.0f}" for t in times)])
    grid = table("task | worlds: | forward: | fwd+bwd: | mujoco_warp:", lines)
    return ["## World steps per second on the GPU", grid] if lines else []


def save(rows: list[Row], folder: Path, command: str) -> None:
    """Writes physics.md and physics.csv."""
    text = page(
        "Physics speed",
        command,
        "Microseconds per world and physics step, in one run, on one core (processor time) or on a GPU. mj_step: "
        "C MuJoCo on one core, float64, with Gymnasium's options (PGS for the humanoids). forward, fwd+bwd: ours, "
        "and with the gradient of one scalar. Jacobian: ours (`linearize`), of one physics step; transitionFD: "
        "`mjd_transitionFD`, centred, with the Euler integrator. mujoco_warp: forward; Newton for the humanoids, "
        "as it has no PGS. MJX: the same, with one solver iteration and four of its line search, the most that it "
        "differentiates; the others solve to their tolerance. The states are visited ones, in contact.",
        table(HEADER, [row.cells for row in rows]),
        "\n".join(f"* {line}." for line in verdicts(rows)),
        *gpu_table(rows),
    )
    (folder / "physics.md").write_text(text)
    write_rows(rows, folder / "physics.csv", "{:.4g}".format)


def parser() -> argparse.ArgumentParser:
    """Options of the program."""
    result = make_parser("physics", __doc__)
    result.set_defaults(output=RESULTS)
    add = result.add_argument
    add("--tasks", nargs="+", choices=list(TASKS), default=list(TASKS), metavar="ID", help="default: all")
    add("--batches", nargs="+", type=positive(int), metavar="N", help=f"worlds; default: {BATCHES}")
    here = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    add("--devices", nargs="+", choices=["cpu", "cuda"], default=here, help="default: all devices of the machine")
    add("--peers", nargs="*", choices=list(PEERS), default=list(PEERS), help="beside C MuJoCo; default: all")
    where = "tasks on which {} runs (it compiles for minutes); default: " + " ".join(PEER_TASKS)
    for peer, flag in (("mujoco_warp", "--warp-tasks"), ("MJX", "--mjx-tasks")):
        add(flag, nargs="*", choices=list(TASKS), default=PEER_TASKS, metavar="ID", help=where.format(peer))
    add("--seconds", type=positive(float), default=0.2, help="length of each of five repeats, default 0.2")
    return result


def chosen_peers(id: str, device: str, batch: int, options: argparse.Namespace) -> list[str]:
    """Peers for one row. On the CPU they run only at the batch of the bounds; mujoco_warp runs at each on CUDA."""
    if device == "cuda":
        return [peer for peer in options.peers if peer == "mujoco_warp"]
    if batch != (BOUND_BATCH if BOUND_BATCH in (options.batches or BATCHES["cpu"]) else max(options.batches)):
        return []
    tasks = {"transition_fd": [id], "mujoco_warp": options.warp_tasks, "mjx": options.mjx_tasks}
    return [peer for peer in options.peers if id in tasks[peer]]


def main(arguments: list[str] | None = None) -> None:
    """Measures, prints and saves."""
    arguments = sys.argv[1:] if arguments is None else arguments
    options = parse(parser(), arguments)
    for peer in list(options.peers):
        if reason := missing(peer):
            print(f"{peer} skipped: {reason}")
            options.peers.remove(peer)
    print(describe_machine(), HEADER, sep="\n", flush=True)
    if hasattr(os, "sched_setaffinity"):  # bind the process and its threads to one core
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    rows = []
    for id, device in product(options.tasks, options.devices):
        for batch in options.batches or BATCHES[device]:
            row, peers = Row(id, device, batch), chosen_peers(id, device, batch, options)
            try:
                measure(prepare(id, batch, device), row, peers, options.seconds)
            except diffsim.UnsupportedModelError as error:
                print(f"{id} skipped: {error}", flush=True)
                break
            rows.append(row)
            save(rows, options.output, " ".join(["physics", *arguments]))
            print(*row.cells, sep=" | ", flush=True)
    print(*verdicts(rows), sep="\n")


if __name__ == "__main__":
    mujoco.set_mju_user_warning(lambda message: None)
    main()
