"""`diffsim evaluate`: evaluates the policy of a run folder."""

from __future__ import annotations

from rich.console import Console

from diffsim.trainers.run.api import untrained_policy
from diffsim.trainers.run.arguments import RunOptions, pick
from diffsim.trainers.run.build import official_evaluation
from diffsim.trainers.run.checkpoint import load_weights, read_checkpoint
from diffsim.trainers.run.evaluation import Episodes
from diffsim.trainers.run.run_folder import existing_folder
from diffsim.trainers.run.summary import described, print_table, record_video


def evaluate_command(run: str, episodes: int, seed: int, video: bool, console: Console) -> Episodes:
    """Evaluates a trained policy, and prints the table. Returns the episodes.

    Raises: OptionError if there is no such run; CheckpointError if its checkpoint cannot be used.
    """
    folder = existing_folder("RUN", run)
    policy, checkpoint = untrained_policy(folder), read_checkpoint(folder.checkpoint)
    options = RunOptions(**pick(folder.read_config(), RunOptions))
    evaluation = official_evaluation(options, episodes, seed)
    load_weights(policy, checkpoint, "policy.", folder.checkpoint)
    played = evaluation.run(policy)
    rows = {**described(played), "checkpoint": str(folder.checkpoint)}
    print_table(f"{options.task}, {options.algorithm}, seed {options.seed}", rows, console)
    if video:
        record_video(evaluation, policy, folder, console)
    return played
