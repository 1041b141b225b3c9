"""`diffsim fit`: trains a policy by its options, in a run folder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from rich.console import Console

from diffsim.trainers.algorithm import Algorithm
from diffsim.trainers.errors import OptionError, StoppedError, WorkerError, option_errors
from diffsim.trainers.experience.env_faults import answer_within
from diffsim.trainers.run.arguments import RunOptions, parse_fit, pick, resolved
from diffsim.trainers.run.build import build, official_evaluation
from diffsim.trainers.run.checkpoint import read_checkpoint
from diffsim.trainers.run.display import busy
from diffsim.trainers.run.evaluation import Episodes
from diffsim.trainers.run.machine import describe_machine
from diffsim.trainers.run.ranks import joined, num_ranks, own_device, rank
from diffsim.trainers.run.run_folder import RunFolder, existing_folder, write_table
from diffsim.trainers.run.summary import described, print_table, record_video
from diffsim.trainers.run.train import Budget, train
from diffsim.trainers.run.unchanged import refuse_changes

CHANGEABLE = ("iterations", "env_steps", "device", "env_timeout")  # by `--resume`
FINAL_SEED = 1_000_000  # far from the seeds of evaluations during training


def fit_command(argv: Sequence[str], console: Console) -> RunFolder:
    """Trains by the options in `argv`, or continues a run, and prints the result.

    Raises: OptionError before any work, if an option is wrong; NonFiniteError or WorkerError from training;
        StoppedError after Ctrl-C or SIGTERM, with a checkpoint.
    """
    resumed = resumed_folder(argv)
    if resumed is not None:
        resumed.update_config()
        if "task" not in resumed.read_config():
            raise OptionError("--resume must be a run of diffsim fit; one made from Python needs fit(..., resume=True)")
        argv = ["--config", str(resumed.config), *argv]
    values = resolved(parse_fit(argv, resumed is not None))
    if resumed is not None:
        refuse_changes(values, read_checkpoint(resumed.checkpoint))
    options = RunOptions(**pick(values, RunOptions))
    options = replace(options, device=own_device(options.device))
    with joined(options.device), answer_within(options.env_timeout):
        with option_errors():
            algorithm = build(options, values)
            algorithm.check()
            announced = algorithm.announce(options.folder if resumed is None else resumed.path)
        checkpoint = None if resumed is None else resumed.checkpoint
        if rank() > 0:
            return train_other_rank(algorithm, options, checkpoint)
        folder = RunFolder.fresh(options.folder, values) if resumed is None else resumed
        folder.final.unlink(missing_ok=True)
        shared = f"; {num_ranks()} ranks" if num_ranks() > 1 else ""
        folder.add_machine(describe_machine() + shared)
        for line in announced:
            console.print(line, soft_wrap=True, highlight=False)
        with last_checkpoint_named(folder):
            recorder = train(algorithm, budget(options), folder, console, checkpoint, logger=options.logger)
    if recorder.stopped_early:
        folder.draw_curve(f"{options.task}, {options.algorithm}, seed {options.seed}")
        console.print(f"Stopped. To continue: diffsim fit --resume {folder.path}", soft_wrap=True, highlight=False)
        raise StoppedError(recorder.stop_signal)
    report(algorithm, options, folder, console)
    return folder


@contextmanager
def last_checkpoint_named(folder: RunFolder) -> Iterator[None]:
    """Adds to the error of an environment or a process how to continue from the last checkpoint."""
    try:
        yield
    except (WorkerError, ChildProcessError) as error:
        if folder.checkpoint.is_file():
            iteration = read_checkpoint(folder.checkpoint)["diffsim"]["iteration"]
            kept = f"the checkpoint of iteration {iteration} is kept; to continue: diffsim fit --resume {folder.path}"
        else:
            kept = f"no checkpoint was written yet to {folder.path}"
        raise WorkerError(f"{error}; {kept}") from error


def budget(options: RunOptions) -> Budget:
    """The budget of training, and the interval of evaluations."""
    every = options.evaluate_every, options.evaluate_every_steps
    return Budget(options.max_iterations, options.env_steps, options.seconds, *every)


def train_other_rank(algorithm: Algorithm, options: RunOptions, checkpoint: Path | None) -> RunFolder:
    """Trains on a rank other than 0, in a temporary folder. Returns this folder, which is already deleted."""
    algorithm.evaluation = None
    with TemporaryDirectory() as path:
        folder = RunFolder(Path(path))
        train(algorithm, budget(options), folder, Console(quiet=True), checkpoint, logger="csv")
    return folder


def resumed_folder(argv: Sequence[str], changeable: Sequence[str] = CHANGEABLE) -> RunFolder | None:
    """The folder after --resume, or None. Only the options `changeable` may be given too.

    Raises: OptionError if it is not a run folder, or if `argv` has options that would change the run.
    """
    names = [word.split("=")[0] for word in argv if word.startswith("--")]
    if "--resume" not in names or "--help" in argv or "-h" in argv:
        return None
    allowed = [f"--{name}" for name in changeable]
    extra = [name for name in names if name not in ("--resume", *allowed)]
    if extra:
        *first, last = allowed or [""]
        only = f"only {', '.join(first)} and {last} may differ" if allowed else "none may differ"
        raise OptionError(f"--resume keeps the options of its run; {only}, got {', '.join(extra)}")
    word = next(i for i, word in enumerate(argv) if word.split("=")[0] == "--resume")
    value = argv[word].partition("=")[2] or (argv[word + 1] if word + 1 < len(argv) else "")
    return existing_folder("--resume", value, own=True)


def report(algorithm: Algorithm, options: RunOptions, folder: RunFolder, console: Console) -> None:
    """Evaluates the trained policy, writes final.csv, draws the learning curve, and prints the table."""
    title = f"{options.task}, {options.algorithm}, seed {options.seed}"
    last = folder.read_metrics()[-1]
    stochastic = options.evaluate_stochastic
    evaluation = official_evaluation(options, options.final_episodes, FINAL_SEED, stochastic=stochastic)
    with busy(console, f"Final evaluation: {options.final_episodes} official episodes ..."):
        played = evaluation.both(algorithm.policy)
    write_table(folder.final, final_rows(played))
    folder.draw_curve(title)
    rows = {
        **described(played["mean"]),
        "env steps": f"{algorithm.env_steps:,}",
        "seconds": f"{last['seconds']:.1f}",
        "checkpoint": str(folder.checkpoint),
        "learning curve": str(folder.curve),
    }
    print_table(title, rows, console)
    if options.video:
        record_video(evaluation, algorithm.policy, folder, console)


def final_rows(played: dict[str, Episodes]) -> list[dict[str, float | str]]:
    """One row per episode of the final evaluation; with its success where the environment reports it."""
    rows: list[dict[str, float | str]] = [
        {"actions": actions, "seed": FINAL_SEED + i, "return": float(total), "length": int(length)}
        for actions, episodes in played.items()
        for i, (total, length) in enumerate(zip(episodes.returns, episodes.lengths, strict=True))
    ]
    found = [episodes.successes for episodes in played.values() if episodes.successes is not None]
    if len(found) == len(played):
        rows = [{**row, "success": int(success)} for row, success in zip(rows, np.concatenate(found), strict=True)]
    return rows
