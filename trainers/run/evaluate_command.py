"""`diffsim evaluate`: evaluates the policy of a run folder."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from diffsim.trainers.errors import option_errors
from diffsim.trainers.run.api import untrained_policy
from diffsim.trainers.run.arguments import RunOptions, pick
from diffsim.trainers.run.build import official_evaluation
from diffsim.trainers.run.checkpoint import load_weights, read_checkpoint
from diffsim.trainers.run.parsing import make_parser, parse
from diffsim.trainers.run.run_folder import existing_folder
from diffsim.trainers.run.summary import described, print_table, record_video


def evaluate_command(argv: Sequence[str], console: Console) -> None:
    """Evaluates a trained policy by the options in `argv`, and prints the table.

    Raises: OptionError if there is no such run; CheckpointError if its checkpoint cannot be used.
    """
    parser = make_parser("evaluate", "Evaluate a trained policy in the official Gymnasium environment (C MuJoCo).")
    parser.add_argument("run", metavar="RUN", help="Folder of the run, or zoo:NAME.")
    parser.add_argument("--episodes", type=int, default=10, help="Number of episodes, at least 1.")
    parser.add_argument("--seed", type=int, default=1_000_000, help="Seed of the first episode, at least 0.")
    parser.add_argument("--video", type=bool, default=False, help="Record the first episode (needs the video extra).")
    help = "Record the first episode, at most 10 s of it, as a small animation."
    parser.add_argument("--gif", type=bool, default=False, help=help)
    given = parse(parser, argv)
    folder = existing_folder("RUN", given.run)
    policy, checkpoint = untrained_policy(folder), read_checkpoint(folder.checkpoint)
    options = RunOptions(**pick(folder.read_config(), RunOptions))
    with option_errors():
        evaluation = official_evaluation(options, given.episodes, given.seed)
    load_weights(policy, checkpoint, "policy.", folder.checkpoint)
    rows = {**described(evaluation.run(policy)), "checkpoint": str(folder.checkpoint)}
    print_table(f"{options.task}, {options.algorithm}, seed {options.seed}", rows, console)
    if given.video:
        record_video(evaluation, policy, folder, console)
    if given.gif:
        record_video(evaluation, policy, folder, console, folder.gif)
