"""Adds the policy of a run to the zoo of shipped policies: its weights, options and card.

The card has the return of 50 episodes in the official environment on C MuJoCo, whose seeds no evaluation in training
has. A policy that was there under the same name is replaced.

    python -m benchmarks.zoo runs/Hopper-v5-SHAC-seed-0 hopper --config shac_hopper
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import torch
import yaml

from benchmarks.command import paragraphs, positive
from diffsim.trainers.errors import OptionError
from diffsim.trainers.run.api import load_policy
from diffsim.trainers.run.arguments import RunOptions, pick
from diffsim.trainers.run.build import official_evaluation
from diffsim.trainers.run.checkpoint import read_checkpoint
from diffsim.trainers.run.run_folder import RunFolder, existing_folder
from diffsim.trainers.zoo.zoo import FOLDER, Card

FIRST_SEED = 2_000_000
LARGEST = 20_000_000
"""Bytes of the whole zoo."""


def main(arguments: list[str] | None = None, folder: Path = FOLDER) -> None:
    """Runs the command line, on a zoo in `folder`."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.zoo", description=paragraphs(__doc__)[0])
    parser.add_argument("run", help="folder of a run")
    parser.add_argument("name", help="name in the zoo, of letters, digits and _")
    parser.add_argument("--config", required=True, help="configuration that the run was made with")
    parser.add_argument("--episodes", type=positive(int), default=50)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    if not options.name.isidentifier():
        raise SystemExit(f"name must be an identifier, got {options.name!r}")
    run = existing_folder("run", options.run, own=True)
    values, metrics = run.read_config(), run.read_metrics()
    checkpoint = read_checkpoint(run.checkpoint)
    chosen = RunOptions(**pick(values, RunOptions))
    episodes = official_evaluation(chosen, options.episodes, FIRST_SEED).run(load_policy(run.path).policy)
    card = Card(
        options.name,
        chosen.task,
        chosen.algorithm,
        f"diffsim fit --config {options.config} --seed {chosen.seed}",
        chosen.seed,
        int(metrics[-1]["env_steps"]),
        round(metrics[-1]["seconds"] / 60, 1),
        round(float(episodes.returns.mean()), 2),
        round(float(episodes.returns.std()), 2),
        options.episodes,
        run.machine.read_text().splitlines()[-1],
    )
    kept = RunFolder(folder / options.name)
    shutil.rmtree(kept.path, ignore_errors=True)
    kept.checkpoint.parent.mkdir(parents=True)
    kept.config.write_text(yaml.safe_dump(values, sort_keys=False))
    torch.save(policy_alone(checkpoint), kept.checkpoint)
    card.write(kept.path)
    print(f"{kept.path}: {card.return_mean:,.1f} ± {card.return_std:,.1f}")


def policy_alone(checkpoint: dict) -> dict:
    """A checkpoint with the weights of the policy only, in float32."""
    weights = {
        name: value.clone().float() if value.is_floating_point() else value.clone()
        for name, value in checkpoint["state_dict"].items()
        if name.startswith("policy.")
    }
    if not weights:
        raise OptionError("run must be of an algorithm that trains a policy, got a checkpoint without one")
    return {"state_dict": weights, "diffsim": {"format": checkpoint["diffsim"]["format"]}}


if __name__ == "__main__":
    main()
