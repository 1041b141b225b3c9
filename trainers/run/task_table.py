"""`diffsim tasks` and `diffsim configs`: lists of the environments and of the shipped configurations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import gymnasium
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

import diffsim
from diffsim.registration import TETRIS
from diffsim.tasks import EQUATION_TASKS, official_env, task_ids
from diffsim.trainers.run.arguments import CONFIGS
from diffsim.trainers.run.parsing import make_parser, parse

SIZES = ("nq", "nv", "obs", "act", "steps")
INTEGRATORS = ("Euler", "RK4", "implicit", "implicitfast")  # in the order of mjtIntegrator
CAPTION = "yes: simulation and exact gradients. no: unsupported MuJoCo features, with their number"
OTHERS = {TETRIS: "none; diffsim/Tetris-v0 plays many games at once", **dict.fromkeys(EQUATION_TASKS, "yes, in torch")}
"""Gradients of the tasks without a MuJoCo model."""


def print_tasks(argv: Sequence[str], console: Console) -> None:
    """Prints the table of environments."""
    parse(make_parser("tasks", "List the environments and which of their features are supported."), argv)
    wide = Console(file=console.file, width=max(console.width, 100))  # narrower, columns would be cut
    wide.print(task_table())
    wide.print(other_table())


def print_configs(argv: Sequence[str], console: Console) -> None:
    """Prints the name of every shipped configuration, and its first line."""
    use = "for `diffsim fit --config NAME` and `diffsim compare NAME`"
    parse(make_parser("configs", f"List the configurations that are shipped, {use}."), argv)
    for path in (*sorted(CONFIGS.glob("*.yaml")), *sorted(CONFIGS.glob("compare/*.yaml"))):
        first = path.read_text().splitlines()[0].removeprefix("#").strip()
        name = str(path.relative_to(CONFIGS).with_suffix(""))
        console.print(f"{name:<36} {first}", soft_wrap=True, markup=False, highlight=False)


def task_table() -> Table:
    """One row per MuJoCo environment of Gymnasium and per task: sizes, integrator, and whether it is supported."""
    table = Table(title="MuJoCo environments", box=SIMPLE, caption=CAPTION, padding=(0, 1, 0, 0))
    for heading in ("id", *SIZES, "integrator", "supported"):
        table.add_column(heading, justify="right" if heading in SIZES else "left", no_wrap=True)
    for id in official_ids():
        table.add_row(id, *_describe(id))
    return table


def other_table() -> Table:
    """One row per task without a MuJoCo model: sizes, and whether it has gradients."""
    table = Table(title="Other environments", box=SIMPLE, padding=(0, 1, 0, 0))
    for heading in ("id", "obs", "actions", "steps", "gradients"):
        table.add_column(heading, justify="right" if heading in ("obs", "actions", "steps") else "left")
    for id, gradients in sorted(OTHERS.items()):
        env = official_env(id)
        steps = env.spec.max_episode_steps if env.spec else None
        sizes = [*map(gymnasium.spaces.flatdim, (env.observation_space, env.action_space)), steps]
        table.add_row(id, *map(str, sizes), gradients)
        env.close()
    return table


def official_ids() -> list[str]:
    """Ids of Gymnasium's MuJoCo environments, newest version, and of such tasks of this and of installed packages."""
    specs = gymnasium.registry.items()
    official = {id for id, spec in specs if "envs.mujoco" in str(spec.entry_point) and id.endswith("-v5")}
    return sorted(official | (set(task_ids()) - set(EQUATION_TASKS)))


def _describe(id: str) -> list[str]:
    env = official_env(id)
    mj_model = env.unwrapped.model  # pyright: ignore[reportAttributeAccessIssue]
    spaces = (env.observation_space, env.action_space)
    steps = env.spec.max_episode_steps if env.spec else None
    sizes = [mj_model.nq, mj_model.nv, *map(gymnasium.spaces.flatdim, spaces), steps]
    integrator = INTEGRATORS[mj_model.opt.integrator]
    env.close()
    return [*map(str, sizes), integrator, _support(id, mj_model)]


def _support(id: str, mj_model: Any) -> str:
    try:
        diffsim.Model(mj_model)
    except diffsim.UnsupportedModelError as error:
        kinds = Counter(feature.split()[0] for feature in error.features)
        return "no: " + ", ".join(f"{kind} ({count})" for kind, count in kinds.items())
    return "yes" if id in task_ids() else "model only"
