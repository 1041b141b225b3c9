"""One training run of `diffsim fit`, judged in the official environment each time that it has taken a number of steps.

    python -m benchmarks.ours --budgets 100000 300000 --run FOLDER -- --task Hopper-v5 --algorithm PPO

What stands after `--` are options of `diffsim fit`. The last line of output is a JSON
list, with mean and deviation of the return, env steps and seconds of training, for each budget.
"""

from __future__ import annotations

import argparse
import io
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from diffsim.trainers.run.fit import evaluate, fit
from rich.console import Console

from benchmarks.machine import positive

EPISODES, FIRST_EPISODE = 10, 1_000_000
"""Of every judgement here and of `benchmarks.stable_baselines`: how many, and the first one's seed."""


def judged(options: Sequence[str], budgets: Sequence[int], path: Path) -> list[dict[str, Any]]:
    """Trains up to each budget in turn, exactly as if it were the only one, and judges what came of it.

    Args:
        options: of `diffsim fit`.
        budgets: env steps, rising.
        path: folder of the run; what is there is deleted.
    """
    silent, found = Console(file=io.StringIO()), []
    if path.exists():
        shutil.rmtree(path)  # of a run that was stopped
    for budget in budgets:
        words = ["--resume", str(path)] if found else [*options, "--run", str(path)]
        last = fit([*words, "--env_steps", str(budget)], silent).read_metrics()[-1]
        if last["env_steps"] < budget:
            raise KeyboardInterrupt  # which ended training
        returns = evaluate(str(path), EPISODES, FIRST_EPISODE, False, silent)
        counts = {"env_steps": int(last["env_steps"]), "seconds": last["seconds"]}
        found.append({"mean": float(returns.mean()), "std": float(returns.std()), **counts})
    return found


def main(arguments: list[str] | None = None) -> None:
    """Trains, judges, and prints what came of it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ours", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--budgets", nargs="+", type=positive(int), required=True, help="env steps")
    parser.add_argument("--run", type=Path, required=True, help="folder of the run")
    parser.add_argument("options", nargs="*", help="of diffsim fit, after --")
    options = parser.parse_args(arguments)
    print(json.dumps(judged(options.options, sorted(options.budgets), options.run)))


if __name__ == "__main__":
    main()
