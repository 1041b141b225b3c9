"""How well policies of Go1Walk-v0 or G1Walk-v0 follow velocity commands, in C MuJoCo.

The first row is of episodes of the task, with commands drawn at reset and changed after 10 s. In the rows after it the
same episodes are harder: less friction, a heavier trunk, or kicks of the trunk, which add 0.7 m/s to the left every
4 s. The other rows keep one command for 20 s, at the limits of the drawn ones or at half of them. The error is the
distance of the trunk's velocity in its own x and y from the command (m/s): its mean over all steps, and that of the
mean velocity after the first two seconds of a command. The error of the yaw rate (rad/s) is that of its mean after two
seconds. The way is the length of the trunk's path in an episode. All are means over the episodes.

    python -m benchmarks.walk runs/Go1Walk-v0-SHAC-seed-0
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from benchmarks.command import make_parser, page, paragraphs, parse, positive, table
from diffsim.tasks import TASKS, OfficialEnv, official_env
from diffsim.tasks.legged_walk import LeggedWalk
from diffsim.trainers import load_policy
from diffsim.trainers.run.run_folder import RunFolder

COMMANDS = (
    *((0, 0, 0), (0.5, 0, 0), (1, 0, 0), (-0.5, 0, 0), (-1, 0, 0), (0, 0.5, 0), (0, 1, 0), (0, -0.5, 0), (0, -1, 0)),
    *((0, 0, 1), (0, 0, -1), (0.7, 0.7, 0), (0.5, 0, 0.5), (0.5, 0, -0.5), (1, 0, 1)),
)
"""Fixed commands, in units of the task's `command_range`."""
SETTLED = 100
"""Steps after which the mean velocity is taken."""


class Change(NamedTuple):
    """What is harder than in training: factors of friction and of the trunk's mass; kicks (m/s)."""

    friction: float = 1.0
    trunk: float = 1.0
    kick: float = 0.0


CHANGES = {
    "drawn": Change(),
    "drawn, friction x 0.5": Change(friction=0.5),
    "drawn, trunk x 1.4": Change(trunk=1.4),
    "drawn, kicks": Change(kick=0.7),
}
KICK_STEPS = 200
PEERS = """\
Beside it: SHAC and SAPO through the adjoint of mujoco_warp's pull request 1535, on this robot with Isaac Lab's gains
and commands, which are those drawn here (E. Heiden, github.com/eric-heiden/academic-website, shac/index.html and
shac/tuning/tasks.py at 625af62d, 2026-10-02). SAPO follows them with an error of 0.05 m/s after 6.6 million control
steps on a quarter of an RTX PRO 6000, for two of two seeds; SHAC stands still for four of four; PPO needs 29.5 million.
With forward commands alone it walks at 1.56 m/s after 2.5 to 6 minutes, and 96 % survive 20 s. Its physics has the same
step of 5 ms; that task has no clock of the gait and no domain randomization."""


class Measured(NamedTuple):
    """Results of an episode."""

    error: float
    mean_velocity: np.ndarray
    mean_error: float
    yaw_error: float
    way: float
    fell: bool


@torch.inference_mode()
def episode(
    run: Path, task: str, command: Sequence[float] | None, seed: int, change: Change = CHANGES["drawn"]
) -> Measured:
    """An episode of a task with the mean actions of a run's policy."""
    env, policy = official_env(task, command=command), load_policy(run)
    inner = env.unwrapped
    assert isinstance(inner, OfficialEnv) and isinstance(inner.task, LeggedWalk)
    model, trunk = inner.model, 1
    model.geom_friction[:, 0] *= change.friction
    model.body_mass[trunk] *= change.trunk
    model.body_inertia[trunk] *= change.trunk
    obs, ended, terminated, rows = env.reset(seed=seed)[0], False, False, []
    while not ended:
        asked = inner.task.current_command(inner.state)[0].numpy()
        if len(rows) % KICK_STEPS == KICK_STEPS - 1:
            inner.data.qvel[:2] += change.kick * inner.data.xmat[1].reshape(3, 3)[:2, 1]
        obs, _, terminated, truncated, _ = env.step(policy(obs))
        velocity, angular, _ = (part[0].numpy() for part in inner.task.trunk(inner.state))
        rows.append((*velocity[:2], angular[2], *asked))
        ended = terminated or truncated
    found, wanted = np.split(np.array(rows), 2, axis=1)
    error = found - wanted
    distance = np.linalg.norm(error[:, :2], axis=1).mean()
    parts = np.split(error, [500]) if len(error) > 500 else [error]  # one for each command
    mean = np.abs([part[SETTLED:].mean(axis=0) if len(part) > SETTLED else part.mean(axis=0) for part in parts])
    way = np.linalg.norm(found[:, :2], axis=1).sum() * inner.task.dt
    planar = np.linalg.norm(mean[:, :2], axis=1).mean()
    return Measured(distance, found[SETTLED:].mean(axis=0), planar, mean[:, 2].mean(), way, terminated)


def row(name: str, results: Sequence[Measured]) -> list[str]:
    """One line of the table."""
    mean = {key: np.mean([getattr(result, key) for result in results], axis=0) for key in Measured._fields}
    velocity = "" if name in CHANGES else ", ".join(f"{value:+.2f}" for value in mean["mean_velocity"])
    numbers = [f"{mean[key]:.3f}" for key in ("error", "mean_error", "yaw_error")]
    return [name, velocity, *numbers, f"{mean['way']:.1f}", f"{sum(result.fell for result in results)}/{len(results)}"]


def rows_of(run: Path, task: str, episodes: int, drawn: int) -> list[list[str]]:
    """The table of a run."""
    rows = []
    for name, change in CHANGES.items():
        rows.append(row(name, [episode(run, task, None, 1000 + seed, change) for seed in range(drawn)]))
        print(*rows[-1], sep=" | ", flush=True)
    limits = TASKS[task].options["command_range"].default
    for units in COMMANDS:
        command = [unit * limit for unit, limit in zip(units, limits, strict=True)]
        name = ", ".join(f"{value:g}" for value in command)
        rows.append(row(name, [episode(run, task, command, 2000 + seed) for seed in range(episodes)]))
        print(*rows[-1], sep=" | ", flush=True)
    return rows


def main(arguments: list[str] | None = None) -> None:
    """Measures runs of one task."""
    parser = make_parser("walk", __doc__)
    parser.add_argument("run", type=Path, nargs="+", help="folders of runs of one task")
    parser.add_argument("--episodes", type=positive(int), default=2, help="of each command and run")
    parser.add_argument("--drawn", type=positive(int), default=20, help="episodes of each run with drawn commands")
    options = parse(parser, arguments)
    folders = [RunFolder(run.resolve()) for run in options.run]
    tasks = sorted({folder.read_config()["task"] for folder in folders})
    if len(tasks) > 1:
        parser.error(f"run must be folders of one task, got {', '.join(tasks)}")
    parts = []
    for folder in folders:
        last = folder.read_metrics()[-1]
        trained = f"{last['env_steps']:,.0f} env steps, {last['seconds'] / 60:.0f} minutes of training"
        titles = "command | mean velocity | error: | error of the mean: | yaw error: | way, m: | falls:"
        rows = rows_of(folder.path, tasks[0], options.episodes, options.drawn)
        parts.append(f"{folder.path.name}: {trained}.\n\n{table(titles, rows)}")
    command = f"walk RUN --episodes {options.episodes} --drawn {options.drawn}"
    parts += [PEERS] if tasks == ["Go1Walk-v0"] else []
    text = page(f"{tasks[0]}: a robot that follows velocity commands", command, *paragraphs(__doc__)[1:2], *parts)
    (options.output / f"{tasks[0]}.md").write_text(text)


if __name__ == "__main__":
    main()
