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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import mujoco
import numpy as np
import torch

import diffsim
from benchmarks.machine import RESULTS, describe_machine, made_by, make_parser, positive
from benchmarks.peers import PEERS, Problem, Work, diffsim_work, missing, mj_step_work
from benchmarks.runs import write_rows
from diffsim.tasks import TASKS
from tests.diffsim.contact_reference import visited_states

BATCHES = {"cpu": [1, 256], "cuda": [64, 1024, 8192]}
BOUND_BATCH = 256
# MJX compiles the gradient of each task for minutes (cached in ~/.cache), mujoco_warp for one minute.
PEER_TASKS = ["HalfCheetah-v5", "Hopper-v5", "Ant-v5", "Humanoid-v5"]


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


RATIOS: dict[str, Callable[[Row], float]] = {
    "forward / mj_step": lambda row: row.forward / row.mj_step,
    "fwd+bwd / forward": lambda row: row.both / row.forward,
    "MJX / forward": lambda row: row.mjx_forward / row.forward,
    "MJX fwd+bwd / fwd+bwd": lambda row: row.mjx_both / row.both,
}
BOUNDS: dict[str, tuple[str, float]] = {
    "forward / mj_step": ("<=", 1.5),
    "fwd+bwd / forward": ("<=", 4.0),
    "MJX / forward": (">=", 3.0),
    "MJX fwd+bwd / fwd+bwd": (">=", 3.0),
}


# ---------------------------------------------------------------------------------------------------- timing


@contextmanager
def one_core() -> Iterator[None]:
    """Binds the process and its threads to one core, if the system can."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


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


# ---------------------------------------------------------------------------------------------------- table

COLUMNS = {
    "mj_step": "mj_step",
    "forward": "forward",
    "both": "fwd+bwd",
    "linearize": "Jacobian",
    "transition_fd": "transitionFD",
    "mujoco_warp": "mujoco_warp",
    "mjx_forward": "MJX",
    "mjx_both": "MJX fwd+bwd",
}
HEADER = f"| {'task':25} | device | batch | {' | '.join([*COLUMNS.values(), *RATIOS])} |"


def _line(row: Row) -> str:
    """A row of the Markdown table."""
    times = [f"{getattr(row, name):{len(title)}.2f}" for name, title in COLUMNS.items()]
    ratios = [f"{ratio(row):{len(title)}.2f}" for title, ratio in RATIOS.items()]
    cells = [cell.replace("nan", "  -") for cell in times + ratios]
    return f"| {row.task:25} | {row.device:6} | {row.batch:5} | {' | '.join(cells)} |"


def verdicts(rows: list[Row]) -> list[str]:
    """Whether each bound holds, on the CPU at 256 worlds."""
    rows = [row for row in rows if row.device == "cpu" and row.batch == BOUND_BATCH]
    lines = []
    for name, (sign, bound) in BOUNDS.items():
        found = {row.task: value for row in rows if not math.isnan(value := RATIOS[name](row))}
        missed = {id: value for id, value in found.items() if (value > bound if sign == "<=" else value < bound)}
        count = f"holds on {len(found) - len(missed)} of {len(found)} tasks" if found else "not measured"
        text = f"{name} {sign} {bound:g} at {BOUND_BATCH} worlds on the CPU: {count}"
        misses = ", ".join(f"{id} {value:.2f}" for id, value in missed.items())
        lines.append(text + (f"; missed on {misses}" if missed else ""))
    return lines


def gpu_table(rows: list[Row]) -> list[str]:
    """Physics steps of all worlds per second on CUDA."""
    lines = []
    for row in rows:
        if row.device == "cuda":
            times = (row.forward, row.both, row.mujoco_warp)
            rates = ["-" if math.isnan(value) else f"{1e6 / value:,.0f}" for value in times]
            lines.append(f"| {row.task} | {row.batch} | {' | '.join(rates)} |")
    header = ["", "## World steps per second on the GPU", ""]
    titles = ["| task | worlds | forward | fwd+bwd | mujoco_warp |", "|---|---:|---:|---:|---:|"]
    return [*header, *titles, *lines] if lines else []


def page(rows: list[Row], command: str) -> str:
    """The Markdown page."""
    cuts = HEADER.strip("|").split("|")
    rule = "|".join("-" * len(cut) if i < 2 else "-" * (len(cut) - 1) + ":" for i, cut in enumerate(cuts))
    return "\n".join(
        [
            "# Physics speed",
            "",
            "Microseconds per world and physics step, in one run, on one core (processor time) or on a GPU. mj_step: "
            "C MuJoCo on one core, float64, with Gymnasium's options (PGS for the humanoids). forward, fwd+bwd: ours, "
            "and with the gradient of one scalar. Jacobian: ours (`linearize`), of one physics step; transitionFD: "
            "`mjd_transitionFD`, centred, with the Euler integrator. mujoco_warp: forward; Newton for the humanoids, "
            "as it has no PGS. MJX: the same, with one solver iteration and four of its line search, the most that it "
            "differentiates; the others solve to their tolerance. The states are visited ones, in contact.",
            "",
            f"{made_by(command)}.",
            "",
            HEADER,
            f"|{rule}|",
            *map(_line, rows),
            "",
            *(f"* {line}." for line in verdicts(rows)),
            *gpu_table(rows),
            "",
        ]
    )


def save(rows: list[Row], folder: Path, command: str) -> None:
    """Writes physics.md and physics.csv."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "physics.md").write_text(page(rows, command))
    write_rows(rows, folder / "physics.csv", "{:.4g}".format)


# ---------------------------------------------------------------------------------------------------- program


def parser() -> argparse.ArgumentParser:
    """Options of the program."""
    result = make_parser("physics", __doc__)
    add = result.add_argument
    add("--tasks", nargs="+", choices=list(TASKS), default=list(TASKS), metavar="ID", help="default: all")
    add("--batches", nargs="+", type=positive(int), metavar="N", help=f"worlds; default: {BATCHES}")
    cuda = ["cuda"] if torch.cuda.is_available() else []
    add(
        "--devices",
        nargs="+",
        choices=["cpu", "cuda"],
        default=["cpu", *cuda],
        help="default: all devices of the machine",
    )
    add("--peers", nargs="*", choices=list(PEERS), default=list(PEERS), help="beside C MuJoCo; default: all")
    where = "tasks on which {} runs (it compiles for minutes); default: " + " ".join(PEER_TASKS)
    for peer, flag in (("mujoco_warp", "--warp-tasks"), ("MJX", "--mjx-tasks")):
        add(flag, nargs="*", choices=list(TASKS), default=PEER_TASKS, metavar="ID", help=where.format(peer))
    add("--seconds", type=positive(float), default=0.2, help="length of each of five repeats, default 0.2")
    add("--output", type=Path, default=RESULTS, help="folder of physics.md and physics.csv")
    return result


def chosen_peers(id: str, device: str, batch: int, options: argparse.Namespace) -> list[str]:
    """Peers for one row. On the CPU they run only at the batch of the bounds; mujoco_warp runs at each on CUDA."""
    bound_batch = BOUND_BATCH if BOUND_BATCH in (options.batches or BATCHES["cpu"]) else max(options.batches)
    chosen = []
    for peer in options.peers:
        if peer == "transition_fd":
            wanted = device == "cpu" and batch == bound_batch
        elif peer == "mujoco_warp" and device == "cuda":
            wanted = True
        else:
            tasks = options.mjx_tasks if peer == "mjx" else options.warp_tasks
            wanted = id in tasks and device == "cpu" and batch == bound_batch
        if wanted:
            chosen.append(peer)
    return chosen


def main(arguments: list[str] | None = None) -> None:
    """Measures, prints and saves."""
    arguments = sys.argv[1:] if arguments is None else arguments
    options = parser().parse_args(arguments)
    command = " ".join(["python -m benchmarks.physics", *arguments])
    torch.set_num_threads(1)
    for peer in list(options.peers):
        if reason := missing(peer):
            print(f"{peer} skipped: {reason}")
            options.peers.remove(peer)
    print(describe_machine(), HEADER, sep="\n", flush=True)
    rows = []
    with one_core():
        for id in options.tasks:
            for device in options.devices:
                for batch in options.batches or BATCHES[device]:
                    row = Row(id, device, batch)
                    try:
                        measure(
                            prepare(id, batch, device), row, chosen_peers(id, device, batch, options), options.seconds
                        )
                    except diffsim.UnsupportedModelError as error:
                        print(f"{id} skipped: {error}", flush=True)
                        break
                    rows.append(row)
                    save(rows, options.output, command)
                    print(_line(row), flush=True)
    print(*verdicts(rows), sep="\n")


if __name__ == "__main__":
    mujoco.set_mju_user_warning(lambda message: None)
    main()
