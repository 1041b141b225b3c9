"""Search without gradients: CartPole-v1, Swimmer-v5 and Hopper-v5 by the shipped configurations; speed by workers.

All runs are made by `diffsim fit`, one after the other, in one process. Policies of CartPole-v1 play 100 official
episodes, those of the other tasks 20, with mean actions and other seeds than in training. Seconds are those of
training, without evaluations; other work on the machine adds to them. Finished runs are not repeated, so that the
command can be stopped and called again.

    python -m benchmarks.search                       # runs of --only cart_pole swimmer hopper, then speed
    python -m benchmarks.search --only speed          # a minute
"""

from __future__ import annotations

import importlib.util
import shutil
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from gymnasium.spaces import Box
from rich.console import Console

from benchmarks.command import RESULTS, arguments_of, make_parser, page, paragraphs, parse, positive, spread, table
from benchmarks.runs import CONFIGS, fit_arguments, grouped, measured, read_rows, write_rows
from diffsim.policies import DeterministicMLP
from diffsim.trainers.black_box.evolution_strategies import EvolutionStrategies
from diffsim.trainers.experience.vector_env import make_env
from diffsim.trainers.run.fit_command import fit_command
from diffsim.trainers.run.run_folder import RunFolder

GROUPS = {
    "cart_pole": ("CartPole-v1", 100),
    "swimmer": ("Swimmer-v5", 20),
    "hopper": ("Hopper-v5", 20),
}
"""Task and number of final episodes of each group of configurations, `configs/*_<group>.yaml`."""
PUBLISHED = {
    "CartPole-v1": "solved from 475",
    "Swimmer-v5": "355, ARS with linear policies, 2,000,000 env steps, one seed (RL Zoo)",
    "Hopper-v5": "3,344, ARS with linear policies, 7,000,000 env steps, one seed (RL Zoo)",
}
SPEED_TASK, SPEED_GENERATIONS = "HalfCheetah-v5", 4


@dataclass
class Row:
    """A run, or its official return: mean and deviation over episodes, and what training took."""

    group: str
    name: str
    seed: int
    mean: float
    std: float
    env_steps: int
    seconds: float


def searches(group: str) -> list[str]:
    """Names of a group's configurations whose algorithm searches without gradients."""
    found = []
    for path in sorted(CONFIGS.glob(f"*_{group}.yaml")):
        name = path.stem.removesuffix(f"_{group}")
        if name in NAMES:
            found.append(name)
    return found


NAMES = {
    "cem": "CEM",
    "cma_es": "CMAES",
    "rwr": "RWR",
    "power": "PoWER",
    "pi2": "PI2",
    "reps": "REPS",
    "evolution_strategies": "EvolutionStrategies",
    "mu_lambda_es": "MuLambdaES",
    "finite_differences": "FiniteDifferences",
    "step_reps": "StepREPS",
    "step_rwr": "StepRWR",
}
"""Algorithm of each configuration."""


def measure(runs: Path, group: str, name: str, seed: int) -> Row:
    """Trains by a configuration, if it has not been done."""
    config, folder = CONFIGS / f"{name}_{group}.yaml", RunFolder(runs / f"{name}_{group}-{seed}")
    if not folder.final.exists():
        shutil.rmtree(folder.path, ignore_errors=True)
        options = {"config": config, "seed": seed, "final_episodes": GROUPS[group][1], "run": folder.path}
        fit_command(fit_arguments(options), Console(quiet=True))
    return Row(group, name, seed, **measured(folder))


def tables(rows: Iterable[Row]) -> Iterable[str]:
    """A heading and a table for each group."""
    found = dict(grouped(rows, "group"))
    for group, (task, episodes) in GROUPS.items():
        if group not in found:
            continue
        yield f"## {task}"
        yield f"Official return, mean over {episodes} episodes, of each seed. Published: {PUBLISHED[task]}."
        lines = []
        for name, runs in sorted(grouped(found[group], "name"), key=lambda item: list(NAMES).index(item[0])):
            each = ", ".join(f"{run.mean:,.1f}" for run in runs)
            cost = spread(run.env_steps for run in runs), spread(run.seconds for run in runs)
            config = f"[{name}_{group}](../../configs/{name}_{group}.yaml)"
            lines.append([NAMES[name], config, each, spread((run.mean for run in runs), 1), *cost])
        yield table("method | configuration | each seed: | mean ± std of seeds: | env steps: | seconds:", lines)


def strategies(workers: int, cluster: str | None) -> EvolutionStrategies:
    """Evolution strategies with an MLP on 32 episodes of 1,000 steps per generation, in shares of 4."""
    env = make_env(SPEED_TASK, 4)
    torch.manual_seed(0)
    assert isinstance(env.single_observation_space, Box) and isinstance(env.single_action_space, Box)
    policy = DeterministicMLP(env.single_observation_space, env.single_action_space)
    return EvolutionStrategies(env, policy, population=32, horizon=500, workers=workers, cluster=cluster)


def speeds() -> str:
    """Env steps per second by workers, and the overhead of a generation that has almost no steps."""
    kinds: list[tuple[str, dict[str, Any]]] = [
        ("this process", {"workers": 0, "cluster": None}),
        ("1 process", {"workers": 1, "cluster": None}),
        ("2 processes", {"workers": 2, "cluster": None}),
    ]
    if importlib.util.find_spec("ray") is not None:
        kinds.append(("Ray, local cluster", {"workers": 0, "cluster": "local"}))
    lines = []
    for label, kind in kinds:
        algorithm = strategies(**kind)
        algorithm.train_iteration()  # starts the workers
        began, steps = time.perf_counter(), algorithm.env_steps
        for _ in range(SPEED_GENERATIONS):
            algorithm.train_iteration()
        seconds, steps = time.perf_counter() - began, algorithm.env_steps - steps
        vector = algorithm.vector()
        overhead = generation_seconds(algorithm)
        algorithm.close()
        lines.append([label, f"{steps / seconds:,.0f}", f"{1e3 * overhead:.1f}", f"{float(vector.norm()):.12f}"])
    return table(
        "evaluated by | env steps per second: | milliseconds of 8 empty shares: | norm of the parameters:", lines
    )


def generation_seconds(algorithm: EvolutionStrategies, repeats: int = 20) -> float:
    """Seconds in which the workers answer 8 shares whose episodes have one step."""
    short = partial(type(algorithm), algorithm.env, algorithm.policy, population=32, horizon=1)
    other = short(workers=algorithm.workers, cluster=algorithm.cluster)
    candidates = other.ask()
    other.evaluate_members(candidates)
    began = time.perf_counter()
    for _ in range(repeats):
        other.evaluate_members(candidates)
    seconds = (time.perf_counter() - began) / repeats
    if algorithm.cluster is None:
        other.close()
    return seconds


def write_page(output: Path, rows: Sequence[Row], command: str) -> None:
    """The Markdown page of all results so far."""
    path = output / "search" / "speed.md"
    speed = path.read_text().strip() if path.exists() else ""
    text = page("Search without gradients", command, paragraphs(__doc__)[1], *tables(rows), speed)
    (output / "search.md").write_text(text)


def main(arguments: list[str] | None = None) -> None:
    """Measures what is missing, and writes the page after every run."""
    parser = make_parser("search", __doc__, runs=True)
    parser.set_defaults(output=RESULTS)
    parser.add_argument("--only", nargs="+", choices=[*GROUPS, "speed"], default=[*GROUPS, "speed"])
    parser.add_argument("--seeds", type=positive(int), default=3, help="number of seeds, default 3")
    options = parse(parser, arguments)
    folder, command = options.output / "search", f"search {arguments_of(options, 'seeds')}"
    folder.mkdir(exist_ok=True)
    table_path = folder / "runs.csv"
    rows = {(row.group, row.name, row.seed): row for row in read_rows(Row, table_path)}
    for group in (group for group in GROUPS if group in options.only):
        for name in searches(group):
            for seed in range(options.seeds):
                row = measure(options.runs, group, name, seed)
                rows[group, name, seed] = row
                print(asdict(row), flush=True)
                write_rows(list(rows.values()), table_path)
                write_page(options.output, list(rows.values()), command)
    if "speed" in options.only:
        about = (
            f"Evolution strategies with an MLP (64, 64) on {SPEED_TASK}, 32 episodes of 500 steps per generation, in 8 "
            "shares. The parameters after training are the same, to the bit. The third column is what a generation "
            "costs besides its steps."
        )
        (folder / "speed.md").write_text(f"## Speed by workers\n\n{about}\n\n{speeds()}\n")
        write_page(options.output, list(rows.values()), command)


if __name__ == "__main__":
    main()
