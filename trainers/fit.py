"""`diffsim fit` and `diffsim evaluate`: from options to a run folder, and from a run folder to a return."""

from __future__ import annotations

import difflib
import inspect
import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from gymnasium.spaces import Space
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from rich.console import Console

import diffsim
from diffsim.finite_difference import FiniteDifferenceMDP
from diffsim.mdp import MDP
from diffsim.noisy_reward import NoisyReward
from diffsim.tasks import TASKS, Task
from policies import Policy
from trainers.algorithm import Algorithm
from trainers.checkpoint import load_weights, read_checkpoint
from trainers.environments import ResumableEnv, make_env
from trainers.errors import OptionError
from trainers.evaluation import Episodes, OfficialEvaluation, require_video
from trainers.goals import make_official
from trainers.hindsight import HindsightReplay
from trainers.machine import describe_machine
from trainers.options import (
    ALGORITHMS,
    POLICIES,
    RunOptions,
    choose,
    official_id,
    parse_fit,
    pick,
    read_yaml,
    takes_env,
    takes_policy,
)
from trainers.recorder import Recorder, ReturnBar
from trainers.run_folder import RunFolder, write_table

FINAL_SEED = 1_000_000  # far from the seeds of evaluations during training
RESUME_OPTIONS = ("--resume", "--iterations", "--env_steps")


def fit(argv: Sequence[str], console: Console) -> RunFolder:
    """Trains as `argv` says, or goes on with a run, and prints what came of it.

    Raises: OptionError before any work, if an option is wrong; NonFiniteError from training.
    """
    resumed = resumed_folder(argv)
    if resumed is not None:
        argv = ["--config", str(resumed.config), *argv]
    parsed = parse_fit(argv)
    values = resolved(parsed)
    options = RunOptions(**pick(values, RunOptions))
    try:
        algorithm = build(options, values)
        algorithm.check()
    except (ValueError, TypeError, OSError, RuntimeError) as error:
        raise OptionError(str(error)) from error
    if resumed is None:
        folder = RunFolder.fresh(options.folder)
        folder.config.write_text(yaml.safe_dump(values, sort_keys=False))
    else:
        folder = resumed
        read_checkpoint(folder.checkpoint)  # a clear error, before Lightning reads it
    folder.final.unlink(missing_ok=True)
    folder.add_machine(describe_machine())
    recorder = train(algorithm, options, folder, console, resume=resumed is not None)
    played = report(algorithm, options, folder, console)
    if not recorder.stopped_early:
        write_table(folder.final, final_rows(played))
    else:
        console.print(f"Stopped. To go on: diffsim fit --resume {folder.path}", soft_wrap=True)
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


def build_policy(observation_space: Space, action_space: Space, options: RunOptions, values: dict[str, Any]) -> Policy:
    """The policy that the options describe, with weights drawn from their seed."""
    cls = choose("policy", options.policy, POLICIES)
    torch.manual_seed(options.seed)
    return cls(observation_space, action_space, **pick(values, cls))


def build_mdp(options: RunOptions) -> MDP:
    """The task that the options describe, with its noises, simulated or as a black box.

    Raises: OptionError if there is none of that name; ValueError or TypeError if a value is out of range.
    """
    if options.task not in TASKS:
        close = difflib.get_close_matches(options.task, TASKS, n=1)
        meant = f"; did you mean {close[0]}?" if close else ""
        raise OptionError(f"task must be one of {', '.join(TASKS)}, got {options.task!r}{meant}")
    mdp = task = diffsim.make(
        options.task,
        num_envs=options.num_envs,
        device=options.device,
        process_noise=options.process_noise,
        **{**options.task_kwargs, **options.training_kwargs},
    )
    if not isinstance(task, Task):
        raise OptionError("reward_noise must stand beside task_kwargs and training_kwargs, got it within")
    if options.dynamics == "finite_differences":
        mdp = FiniteDifferenceMDP(task, num_workers=options.num_workers)
    return NoisyReward(mdp, options.reward_noise) if options.reward_noise else mdp


def build(options: RunOptions, values: dict[str, Any]) -> Algorithm:
    """The algorithm that the options describe, ready to train.

    Raises: ValueError or TypeError if a value is out of range.
    """
    devices = ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
    if options.device not in [*devices, *(["cuda"] if len(devices) > 1 else [])]:
        raise OptionError(f"device must be one of {', '.join(devices)}, got {options.device!r}")
    if options.video:
        require_video()
    cls = choose("algorithm", options.algorithm, ALGORITHMS)
    torch.set_num_threads(options.threads)
    if takes_env(cls):
        if options.dynamics != "simulator":
            raise OptionError(f"dynamics must be simulator for {options.algorithm}, got {options.dynamics!r}")
        env = make_env(
            options.task,
            options.num_envs,
            seed=options.seed,
            device=options.device,
            process_noise=options.process_noise,
            reward_noise=options.reward_noise,
            **{**options.task_kwargs, **options.training_kwargs},
        )
        if not takes_policy(cls):
            return cls(env, **shared_arguments(options), **pick(values, cls))
        spaces = env.single_observation_space, env.single_action_space
        policy = build_policy(*spaces, options, values).to(options.device, diffsim.dtype)
        replay = hindsight_replay(env, cls, options, values)
        return cls(env, policy, **replay, **shared_arguments(options), **pick(values, cls))
    if options.goal_strategy is not None:
        raise OptionError(f"goal_strategy must be null for {options.algorithm}, got {options.goal_strategy!r}")
    mdp = build_mdp(options)
    policy = build_policy(mdp.observation_space, mdp.action_space, options, values).to(mdp.device, mdp.dtype)
    return cls(mdp, policy, **shared_arguments(options), **pick(values, cls))


def hindsight_replay(env: ResumableEnv, cls: type, options: RunOptions, values: dict[str, Any]) -> dict[str, Any]:
    """The replay that the options ask for, as an argument of the algorithm; none if it is the algorithm's own.

    Raises: OptionError if the algorithm keeps no experience; ValueError if the task has no goals.
    """
    if options.goal_strategy is None:
        return {}
    if "replay" not in inspect.signature(cls).parameters:
        raise OptionError(f"goal_strategy must be null for {options.algorithm}, got {options.goal_strategy!r}")
    shared = {"device": torch.device(options.device), "dtype": diffsim.dtype}
    chosen = {"goal_strategy": options.goal_strategy, "relabel_fraction": options.relabel_fraction}
    own = {name: values[name] for name in ("gamma", "num_steps")}
    return {"replay": HindsightReplay.of(env, values["replay_size"], **chosen, **own, **shared)}


def shared_arguments(options: RunOptions) -> dict[str, Any]:
    """What every algorithm's constructor takes beside its world, its policy and its own options."""
    evaluation = official_evaluation(options, options.evaluate_episodes, stochastic=options.evaluate_stochastic)
    return {"seed": options.seed, "evaluation": evaluation}


def official_evaluation(
    options: RunOptions, episodes: int, seed: int = 0, *, stochastic: bool = False
) -> OfficialEvaluation:
    """Episodes of the task in Gymnasium, whoever simulated it in training."""
    return OfficialEvaluation(official_id(options.task), options.task_kwargs, episodes, seed, stochastic)


def train(algorithm: Algorithm, options: RunOptions, folder: RunFolder, console: Console, *, resume: bool) -> Recorder:
    """Runs Lightning's trainer, one epoch per iteration."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    algorithm.folder = folder.checkpoint.parent
    algorithm.evaluate_every_steps = options.evaluate_every_steps
    recorder = Recorder(folder, options.evaluate_every, options.env_steps, options.seconds)
    with warnings.catch_warnings(), recorder:
        warnings.filterwarnings("ignore", module="lightning")
        every = options.evaluate_every if options.evaluate_every_steps is None else 1  # the algorithm says when
        callbacks = [recorder, ReturnBar(console)]
        trainer = make_trainer(options.device, options.max_iterations, every, folder, callbacks)
        trainer.fit(algorithm, ckpt_path=folder.checkpoint if resume else None, weights_only=True)
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
    """The episodes that a trained policy is judged by, one per row."""
    return [
        {"actions": actions, "seed": FINAL_SEED + i, "return": float(total), "length": int(length)}
        for actions, episodes in played.items()
        for i, (total, length) in enumerate(zip(episodes.returns, episodes.lengths, strict=True))
    ]


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
