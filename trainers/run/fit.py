"""`diffsim fit` and `diffsim evaluate`: from options to a run folder, and from a run folder to a return."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
import yaml
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from rich.console import Console

from diffsim.policies import Policy
from diffsim.trainers.algorithm import Algorithm
from diffsim.trainers.errors import OptionError
from diffsim.trainers.experience.goals import make_official
from diffsim.trainers.run.arguments import (
    ALGORITHMS,
    RunOptions,
    choose,
    parse_fit,
    pick,
    read_yaml,
    takes_policy,
)
from diffsim.trainers.run.build import build, build_policy, official_evaluation
from diffsim.trainers.run.checkpoint import load_weights, read_checkpoint
from diffsim.trainers.run.evaluation import Episodes, OfficialEvaluation
from diffsim.trainers.run.machine import describe_machine
from diffsim.trainers.run.ranks import joined, num_ranks, own_device, rank
from diffsim.trainers.run.recorder import Recorder, ReturnBar
from diffsim.trainers.run.run_folder import RunFolder, write_table

FINAL_SEED = 1_000_000  # far from the seeds of evaluations during training
RESUME_OPTIONS = ("--resume", "--iterations", "--env_steps")


def fit(argv: Sequence[str], console: Console) -> RunFolder:
    """Trains as `argv` says, or goes on with a run, and prints what came of it.

    Raises: OptionError before any work, if an option is wrong; NonFiniteError from training.
    """
    resumed = resumed_folder(argv)
    if resumed is not None:
        argv = ["--config", str(resumed.config), *argv]
    parsed = parse_fit(argv, resumed is not None)
    values = resolved(parsed)
    options = RunOptions(**pick(values, RunOptions))
    options = replace(options, device=own_device(options.device))
    with joined(options.device):
        try:
            algorithm = build(options, values)
            algorithm.check()
        except (ValueError, TypeError, OSError, RuntimeError) as error:
            raise OptionError(str(error)) from error
        if resumed is not None:
            read_checkpoint(resumed.checkpoint)  # a clear error, before Lightning reads it
        checkpoint = None if resumed is None else resumed.checkpoint
        if rank() > 0:
            return train_other_rank(algorithm, options, checkpoint)
        folder = RunFolder.fresh(options.folder) if resumed is None else resumed
        if resumed is None:
            folder.config.write_text(yaml.safe_dump(values, sort_keys=False))
        folder.final.unlink(missing_ok=True)
        shared = f"; {num_ranks()} ranks" if num_ranks() > 1 else ""
        folder.add_machine(describe_machine() + shared)
        recorder = train(algorithm, options, folder, console, checkpoint)
    played = report(algorithm, options, folder, console)
    if not recorder.stopped_early:
        write_table(folder.final, final_rows(played))
    else:
        console.print(f"Stopped. To go on: diffsim fit --resume {folder.path}", soft_wrap=True)
    return folder


def train_other_rank(algorithm: Algorithm, options: RunOptions, checkpoint: Path | None) -> RunFolder:
    """Trains as a rank that the first one speaks for. Returns the folder of its own, which is gone."""
    algorithm.evaluation = None
    with TemporaryDirectory() as path:
        folder = RunFolder(Path(path))
        train(algorithm, options, folder, Console(quiet=True), checkpoint)
    return folder


def resumed_folder(argv: Sequence[str]) -> RunFolder | None:
    """The folder after --resume, or None.

    Raises: OptionError if it is no run folder, or if options come with it that would change the run.
    """
    names = [word.split("=")[0] for word in argv if word.startswith("--")]
    if "--resume" not in names or "--help" in argv or "-h" in argv:
        return None
    extra = [name for name in names if name not in RESUME_OPTIONS]
    if extra:
        raise OptionError(
            "--resume keeps the options of its run; only --iterations and --env_steps may differ, "
            f"got {', '.join(extra)}"
        )
    word = next(i for i, word in enumerate(argv) if word.split("=")[0] == "--resume")
    value = argv[word].partition("=")[2] or (argv[word + 1] if word + 1 < len(argv) else "")
    return existing_folder("--resume", value)


def existing_folder(option: str, path: str) -> RunFolder:
    """The run in the folder `path`.

    Raises: OptionError if there is none.
    """
    folder = RunFolder(Path(path))
    if not folder.config.is_file():
        raise OptionError(f"{option} must be the folder of a run, with its config.yaml, got {path!r}")
    return folder


def resolved(parsed: Any) -> dict[str, Any]:
    """Every option that makes the run what it is."""
    return {name: value for name, value in parsed.as_dict().items() if name not in ("config", "resume")}


def train(
    algorithm: Algorithm, options: RunOptions, folder: RunFolder, console: Console, checkpoint: Path | None = None
) -> Recorder:
    """Runs Lightning's trainer, one epoch per iteration, going on from a checkpoint if there is one."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    algorithm.folder = folder.checkpoint.parent
    algorithm.evaluate_every_steps = options.evaluate_every_steps
    recorder = Recorder(folder, options.evaluate_every, options.env_steps, options.seconds)
    with warnings.catch_warnings(), recorder:
        warnings.filterwarnings("ignore", module="lightning")
        every = options.evaluate_every if options.evaluate_every_steps is None else 1  # the algorithm says when
        callbacks = [recorder, ReturnBar(console)]
        trainer = make_trainer(options.device, options.max_iterations, every, folder, callbacks)
        trainer.fit(algorithm, ckpt_path=checkpoint, weights_only=True)
    return recorder


def make_trainer(
    device: str, iterations: int, evaluate_every: int, folder: RunFolder, callbacks: list[Callback]
) -> Trainer:
    """Lightning's trainer, for one epoch per iteration; with -1, for any number."""
    where = torch.device(device)
    return Trainer(
        accelerator="gpu" if where.type == "cuda" else "cpu",
        devices=[where.index or 0] if where.type == "cuda" else 1,
        max_epochs=iterations,
        check_val_every_n_epoch=evaluate_every,
        num_sanity_val_steps=0,
        logger=TensorBoardLogger(folder.path, name="tensorboard", version=""),
        callbacks=callbacks,
        enable_progress_bar=False,
        enable_checkpointing=False,
        enable_model_summary=False,
    )


def report(algorithm: Algorithm, options: RunOptions, folder: RunFolder, console: Console) -> dict[str, Episodes]:
    """Evaluates the trained policy, draws its pictures, and prints the table. Returns the episodes."""
    folder.draw_curve(f"{options.task}, {options.algorithm}, seed {options.seed}")
    last = folder.read_metrics()[-1]
    evaluation = official_evaluation(
        options, options.final_episodes, FINAL_SEED, stochastic=options.evaluate_stochastic
    )
    played = evaluation.both(algorithm.policy)
    rows = {
        **described(played["mean"]),
        "env steps": f"{algorithm.env_steps:,}",
        "seconds": f"{last['seconds']:.1f}",
        "checkpoint": str(folder.checkpoint),
        "learning curve": str(folder.curve),
    }
    print_table(f"{options.task}, {options.algorithm}, seed {options.seed}", rows, console)
    if options.video:
        record_video(evaluation, algorithm.policy, folder, console)
    return played


def final_rows(played: dict[str, Episodes]) -> list[dict[str, float | str]]:
    """One row per official episode of the trained policy; with its success where the environment reports it."""
    rows: list[dict[str, float | str]] = [
        {"actions": actions, "seed": FINAL_SEED + i, "return": float(total), "length": int(length)}
        for actions, episodes in played.items()
        for i, (total, length) in enumerate(zip(episodes.returns, episodes.lengths, strict=True))
    ]
    if all(episodes.successes is not None for episodes in played.values()):
        successes = np.concatenate([episodes.successes for episodes in played.values()])
        rows = [{**row, "success": int(success)} for row, success in zip(rows, successes, strict=True)]
    return rows


def evaluate(run: str, episodes: int, seed: int, video: bool, console: Console) -> np.ndarray:
    """Measures a trained policy again, and prints the table. Returns of all episodes, [episodes].

    Raises: OptionError if there is no such run; CheckpointError if its checkpoint cannot be used.
    """
    folder = existing_folder("RUN", run)
    values = read_yaml(folder.config)
    options = RunOptions(**pick(values, RunOptions))
    evaluation = official_evaluation(options, episodes, seed)
    checkpoint = read_checkpoint(folder.checkpoint)
    env = make_official(evaluation.task, **options.task_kwargs)
    if takes_policy(choose("algorithm", options.algorithm, ALGORITHMS)):
        policy = build_policy(env.observation_space, env.action_space, options, values)
    else:
        policy = build(options, values).policy
    load_weights(policy, checkpoint, "policy.", folder.checkpoint)
    episodes_played = evaluation.run(policy)
    rows = {**described(episodes_played), "checkpoint": str(folder.checkpoint)}
    print_table(f"{options.task}, {options.algorithm}, seed {options.seed}", rows, console)
    if video:
        record_video(evaluation, policy, folder, console)
    return episodes_played.returns


def record_video(evaluation: OfficialEvaluation, policy: Policy, folder: RunFolder, console: Console) -> None:
    """Records an episode, after the table: if nothing can be drawn here, the results are still told."""
    evaluation.record(policy, folder.video)
    console.print(f"video  {folder.video}", soft_wrap=True, markup=False, highlight=False)


def described(episodes: Episodes) -> dict[str, str]:
    """Mean and (population) standard deviation of the return, and the rate of success, in words."""
    returns, successes = episodes.returns, episodes.successes
    rows = {f"official return, {len(returns)} episodes": f"{returns.mean():,.1f} ± {returns.std():,.1f}"}
    return rows if successes is None else {**rows, "success rate": f"{successes.mean():.0%}"}


def print_table(title: str, rows: dict[str, str], console: Console) -> None:
    """Prints names and values in two columns. Lines are never folded: a path can be copied."""
    width = max(map(len, rows))
    lines = [title, "-" * len(title), *(f"{name:<{width}}  {value}" for name, value in rows.items())]
    console.print("\n".join(lines), soft_wrap=True, markup=False, highlight=False)
