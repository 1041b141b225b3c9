"""Speed of the simulator beside C MuJoCo's mj_step on one core, in the same run.

Every number is microseconds per world and physics step (one mj_step). Both engines start from the same moving
states, hold the same random controls, and take a task's `frame_skip` steps at a time.

    python -m benchmarks.physics --tasks Swimmer-v5 --batches 1 64
"""

from __future__ import annotations

import argparse
import csv
import os
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import mujoco
import mujoco.rollout
import numpy as np
import torch

import diffsim
from diffsim.tasks import TASKS, Task

RESULTS = Path(__file__).parent / "results"


@dataclass
class Row:
    """One line of the table; times in microseconds per world and mj_step."""

    task: str
    device: str
    batch: int
    mj_step: float
    forward: float
    both: float

    @property
    def forward_ratio(self) -> float:
        """Forward, in mj_steps."""
        return self.forward / self.mj_step

    @property
    def both_ratio(self) -> float:
        """Forward+backward, in forwards."""
        return self.both / self.forward


def best_time(call: Callable[[], object], seconds: float, repeats: int = 5) -> float:
    """Seconds per call: the best of some repeats of about `seconds` each, as the machine may be shared."""
    call()
    start = time.perf_counter()
    call()
    count = max(1, round(seconds / (time.perf_counter() - start)))
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        for _ in range(count):
            call()
        times.append((time.perf_counter() - start) / count)
    return min(times)


def moving_states(task: Task, count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """States reached by random controls within half a second, [count, nq + nv], and controls [count, nu]."""
    rng = np.random.default_rng(seed)
    mj_model, data = task.mj_model, mujoco.MjData(task.mj_model)
    low, high = mj_model.actuator_ctrlrange.T
    states, ctrls = [], []
    for _ in range(count):
        mujoco.mj_resetData(mj_model, data)
        data.qpos += rng.uniform(-0.1, 0.1, mj_model.nq)
        data.qvel[:] = rng.uniform(-0.1, 0.1, mj_model.nv)
        data.ctrl[:] = rng.uniform(low, high)
        mujoco.mj_step(mj_model, data, nstep=int(rng.uniform(1, 0.5 / mj_model.opt.timestep)))
        states.append(np.concatenate([data.qpos, data.qvel]))
        ctrls.append(rng.uniform(low, high))
    return np.array(states), np.array(ctrls)


def time_mj_step(task: Task, state: np.ndarray, ctrl: np.ndarray, seconds: float) -> float:
    """Microseconds per mj_step on one core, looped over worlds and steps in C (mujoco.rollout)."""
    mj_model, data = task.mj_model, mujoco.MjData(task.mj_model)
    count = len(state)
    full = np.concatenate([np.zeros((count, 1)), state], axis=1)
    control = np.repeat(ctrl[:, None], task.frame_skip, axis=1)
    with mujoco.rollout.Rollout(nthread=0) as rollout:
        elapsed = best_time(lambda: rollout.rollout([mj_model] * count, [data], full, control), seconds)
    return 1e6 * elapsed / (count * task.frame_skip)


def time_simulator(
    task: Task, state: np.ndarray, ctrl: np.ndarray, batch: int, device: str, seconds: float
) -> tuple[float, float]:
    """Microseconds per world and step of our simulator: forward, and forward+backward."""
    simulator = diffsim.Simulator(diffsim.Model(task.mj_model), batch, device=device)
    index = np.arange(batch) % len(state)
    inputs = [torch.tensor(x[index], dtype=diffsim.dtype, device=device) for x in (state, ctrl)]
    weight = torch.randn(inputs[0].shape, dtype=diffsim.dtype, device=device)

    def synchronize() -> None:
        if device != "cpu":
            torch.cuda.synchronize()

    def forward() -> None:
        simulator.step(*inputs, num_steps=task.frame_skip)
        synchronize()

    def both() -> None:
        leaves = [x.detach().requires_grad_() for x in inputs]
        torch.autograd.backward(simulator.step(*leaves, num_steps=task.frame_skip), weight)
        synchronize()

    scale = 1e6 / (batch * task.frame_skip)
    return scale * best_time(forward, seconds), scale * best_time(both, seconds)


def measure(tasks: list[str], batches: list[int], devices: list[str], seconds: float) -> list[Row]:
    """Times every task in every batch size on every device."""
    rows = []
    for id in tasks:
        task = diffsim.make(id)
        state, ctrl = moving_states(task, 64)
        for device in devices:
            for batch in batches:
                mj_step = time_mj_step(task, state, ctrl, seconds)
                forward, both = time_simulator(task, state, ctrl, batch, device, seconds)
                rows.append(Row(id, device, batch, mj_step, forward, both))
                print(_line(rows[-1]), flush=True)
    return rows


HEADER = (
    f"| {'task':25} | device | batch | mj_step us | forward us | fwd+bwd us | "
    "forward / mj_step | fwd+bwd / forward |"
)


def _line(row: Row) -> str:
    """A row of the Markdown table."""
    return (
        f"| {row.task:25} | {row.device:6} | {row.batch:5} | {row.mj_step:10.2f} | {row.forward:10.2f} | "
        f"{row.both:10.2f} | {row.forward_ratio:17.2f} | {row.both_ratio:17.2f} |"
    )


def describe_machine() -> str:
    """Processor, accelerator, precision and versions, in one line."""
    cpu = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines() if os.path.exists("/proc/cpuinfo") else []:
        if line.startswith("model name"):
            cpu = line.split(":", 1)[1].strip()
            break
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    versions = ", ".join(f"{name} {version(name)}" for name in ("mujoco", "warp-lang", "torch", "gymnasium"))
    precision = str(diffsim.dtype).removeprefix("torch.")
    return f"{cpu} ({os.cpu_count()} cores){gpu}; {precision}; Python {platform.python_version()}, {versions}"


def save(rows: list[Row], folder: Path) -> None:
    """Writes physics.md and physics.csv."""
    folder.mkdir(parents=True, exist_ok=True)
    rule = "|".join("-" * len(part) for part in HEADER.split("|"))
    text = [
        "# Physics speed",
        "",
        "Microseconds per world and `mj_step`, beside C MuJoCo's on one core (float64) in the same run.",
        "",
        f"{datetime.now(UTC):%Y-%m-%d}, {describe_machine()}. Made by `python -m benchmarks.physics`.",
        "",
        HEADER,
        rule,
        *map(_line, rows),
        "",
    ]
    (folder / "physics.md").write_text("\n".join(text))
    with (folder / "physics.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Row)])
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)


def _positive(kind: Callable[[str], float]) -> Callable[[str], float]:
    """An argparse type that takes only numbers above zero."""

    def parse(text: str) -> float:
        value = kind(text)
        if value <= 0:
            raise argparse.ArgumentTypeError(f"must be > 0, got {text}")
        return value

    return parse


def main(arguments: list[str] | None = None) -> None:
    """Measures, prints and saves."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.physics", description=(__doc__ or "").split("\n\n")[0]
    )
    parser.add_argument(
        "--tasks", nargs="+", choices=list(TASKS), default=list(TASKS), metavar="ID", help="default: all"
    )
    parser.add_argument(
        "--batches", nargs="+", type=_positive(int), default=[1, 64, 1024], metavar="N", help="worlds"
    )
    cuda = ["cuda"] if torch.cuda.is_available() else []
    parser.add_argument(
        "--devices", nargs="+", choices=["cpu", "cuda"], default=["cpu", *cuda], help="default: all there are"
    )
    parser.add_argument(
        "--seconds", type=_positive(float), default=0.2, help="length of each of five repeats"
    )
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder of physics.md and physics.csv")
    options = parser.parse_args(arguments)
    print(describe_machine(), HEADER, sep="\n")
    save(measure(options.tasks, options.batches, options.devices, options.seconds), options.output)


if __name__ == "__main__":
    main()
