"""Training runs of the benchmarks, and the CSV files of their results.

A run is a process of `diffsim fit`. Its folder holds the metrics and, once training is complete, the official episodes
of the trained policy (final.csv).
"""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from subprocess import PIPE
from typing import Any, TypeVar

import numpy as np

from diffsim.trainers.run.run_folder import RunFolder

ROOT = Path(__file__).parents[1]
CONFIGS = ROOT / "configs"
FIT = (sys.executable, "-m", "diffsim.trainers.cli", "fit")
ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1"}

Row = TypeVar("Row")


def config_file(algorithm: str, task: str) -> Path:
    """A YAML file that may not exist: configs/ppo_half_cheetah.yaml for PPO and HalfCheetah-v5."""
    names = (re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name) for name in (algorithm, task.split("-")[0]))
    return CONFIGS / f"{'_'.join(names).lower()}.yaml"


def train(folder: RunFolder, options: Mapping[str, Any], env_steps: int, core: int | None = None) -> None:
    """Trains up to `env_steps` in a process of its own. Resumes a run that was stopped, and skips a finished one.

    Args:
        folder: of the run. Deleted first if it holds no checkpoint.
        options: of `diffsim fit`, for a new run.
        env_steps: budget; it can be larger than in an earlier call.
        core: index of the CPU core that the process is bound to.

    Raises:
        RuntimeError: with the end of the command's error output, if it failed.
        KeyboardInterrupt: if the run was interrupted.
    """
    if not folder.checkpoint.exists():
        shutil.rmtree(folder.path, ignore_errors=True)
        arguments = fit_arguments({**options, "env_steps": env_steps, "run": folder.path})
    elif not folder.final.exists() or folder.read_metrics()[-1]["env_steps"] < env_steps:
        arguments = fit_arguments({"resume": folder.path, "env_steps": env_steps})
    else:
        return
    call([*FIT, *arguments], core)
    if not folder.final.exists():
        raise KeyboardInterrupt


def fit_arguments(options: Mapping[str, Any]) -> list[str]:
    """Options as `diffsim fit` takes them: values as JSON, which is valid YAML."""
    return [
        f"--{name}={value if isinstance(value, str | Path) else json.dumps(value)}" for name, value in options.items()
    ]


def official(folder: RunFolder, column: str) -> np.ndarray:
    """A column of final.csv for the mean actions, [episodes]: "return", "length" or "success"."""
    with folder.final.open(newline="") as file:
        return np.array([float(row[column]) for row in csv.DictReader(file) if row["actions"] == "mean"])


def measured(folder: RunFolder) -> dict[str, Any]:
    """Mean and standard deviation of the official return; env steps and seconds of training."""
    returns, last = official(folder, "return"), folder.read_metrics()[-1]
    counts = {"env_steps": int(last["env_steps"]), "seconds": last["seconds"]}
    return {"mean": float(returns.mean()), "std": float(returns.std()), **counts}


def call(command: Sequence[str], core: int | None = None) -> str:
    """Runs a command with one thread, bound to a core if one is given. Returns its output.

    Raises: RuntimeError with the end of its error output if it failed.
    """
    process = subprocess.Popen(command, cwd=ROOT, env=ONE_THREAD, stdout=PIPE, stderr=PIPE, text=True)
    if core is not None:
        os.sched_setaffinity(process.pid, {core})
    try:
        output, errors = process.communicate()
    finally:
        process.kill()  # after Ctrl-C
    if process.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} failed:\n{errors[-2000:]}")
    return output


def read_rows(kind: type[Row], path: Path) -> list[Row]:
    """Rows of an earlier call, as dataclasses `kind`; none if there is no file."""
    if not path.exists():
        return []
    parsers = {"str": str, "int": int, "float": float, "bool": lambda text: text == "True"}
    parse = {field.name: parsers[str(field.type)] for field in fields(kind)}  # pyright: ignore[reportArgumentType]
    with path.open(newline="") as file:
        return [kind(**{name: parse[name](text) for name, text in row.items()}) for row in csv.DictReader(file)]


def write_rows(rows: Sequence[Any], path: Path, number: Callable[[float], Any] = float) -> None:
    """Writes dataclasses as a CSV file, in their order; `number` rounds or formats floats."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(field.name for field in fields(rows[0]))
        for row in rows:
            writer.writerow(number(value) if isinstance(value, float) else value for value in asdict(row).values())


def grouped(rows: Iterable[Row], *names: str) -> list[tuple[Any, list[Row]]]:
    """Rows by the values of some fields: pairs of the values (for one field, the value) and the rows, sorted."""
    key = attrgetter(*names)
    return [(values, list(group)) for values, group in groupby(sorted(rows, key=key), key)]
