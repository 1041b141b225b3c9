"""The `diffsim` command. Imports what a command needs only when it runs, so that help comes at once."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from diffsim.trainers.errors import FailedRunsError, NonFiniteError, UsageError

USAGE = """usage: diffsim COMMAND [options]

Model-based reinforcement learning through differentiable MuJoCo physics.

commands:
  fit        train a policy, or go on with a run
  evaluate   measure a trained policy in the official Gymnasium environment
  compare    train many algorithms on many tasks, and put them on one page
  report     write that page of what there is so far
  gradients  compare estimators of the policy gradient: variance, bias and cost by horizon
  tasks      list the environments, and what of each is supported
  collect    record experience, as data for a model
  fit-model  fit a model of an environment to data
  model-report
             examine a model: errors, calibration, and the policy gradient through it

diffsim COMMAND --help lists the options of one. Example:
  diffsim fit --config configs/quickstart.yaml
"""


@contextmanager
def loading() -> Iterator[None]:
    """Imports without looking for garbage among what stays: a fifth less of their time, as `diffsim` does itself."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def run_fit(argv: Sequence[str]) -> None:
    """Runs `diffsim fit`."""
    from rich.console import Console

    with loading():
        from diffsim.trainers.run.fit import fit

    fit(argv, Console())


def run_evaluate(argv: Sequence[str]) -> None:
    """Runs `diffsim evaluate`."""
    from jsonargparse import ArgumentParser

    from diffsim.trainers.run.arguments import parse

    parser = ArgumentParser(
        prog="diffsim evaluate",
        description="Measure a trained policy in the official Gymnasium environment (C MuJoCo).",
        exit_on_error=False,
        allow_abbrev=False,
    )
    parser.add_argument("run", metavar="RUN", help="Folder of the run.")
    parser.add_argument("--episodes", type=int, default=10, help="Number of episodes, at least 1.")
    parser.add_argument("--seed", type=int, default=1_000_000, help="Seed of the first episode, at least 0.")
    parser.add_argument("--video", action="store_true", help="Record the first one (needs the video extra).")
    options = parse(parser, argv)
    from rich.console import Console

    with loading():
        from diffsim.trainers.run.fit import evaluate

    evaluate(options.run, options.episodes, options.seed, options.video, Console())


def run_compare(argv: Sequence[str]) -> None:
    """Runs `diffsim compare`."""
    from jsonargparse import ArgumentParser

    from diffsim.trainers.compare.compare import CompareOptions, compare
    from diffsim.trainers.run.arguments import parse

    description = "Train many algorithms on many tasks, each run in a process of its own, and put them on one page."
    parser = ArgumentParser(prog="diffsim compare", description=description, exit_on_error=False, allow_abbrev=False)
    parser.add_argument("config", metavar="CONFIG", help="YAML file of the comparison.")
    parser.add_class_arguments(CompareOptions)
    values = parse(parser, argv).as_dict()
    from rich.console import Console

    config = values.pop("config")
    if failed := compare(config, CompareOptions(**values), Console()):
        raise FailedRunsError(f"{failed} run(s) failed")


def run_report(argv: Sequence[str]) -> None:
    """Runs `diffsim report`."""
    from pathlib import Path

    from jsonargparse import ArgumentParser

    from diffsim.trainers.run.arguments import parse

    description = "Write the page of a comparison, of what there is so far."
    parser = ArgumentParser(prog="diffsim report", description=description, exit_on_error=False, allow_abbrev=False)
    parser.add_argument("dir", metavar="DIR", help="Folder of the comparison.")
    folder = Path(parse(parser, argv).dir)
    from diffsim.trainers.compare.report import write_report

    print(f"report: {write_report(folder)}")


def run_gradients(argv: Sequence[str]) -> None:
    """Runs `diffsim gradients`."""
    from jsonargparse import ArgumentParser

    from diffsim.trainers.gradients.options import GradientOptions
    from diffsim.trainers.run.arguments import parse

    description = "Compare estimators of the policy gradient: variance, bias, cosine and cost, by horizon."
    parser = ArgumentParser(prog="diffsim gradients", description=description, exit_on_error=False, allow_abbrev=False)
    parser.add_class_arguments(GradientOptions)
    options = GradientOptions(**parse(parser, argv).as_dict())
    from rich.console import Console

    from diffsim.trainers.gradients.gradients import gradients

    gradients(options, Console())


def run_tasks(argv: Sequence[str]) -> None:
    """Runs `diffsim tasks`."""
    from jsonargparse import ArgumentParser

    from diffsim.trainers.run.arguments import parse

    description = "List the environments, and what of each is supported."
    parse(ArgumentParser(prog="diffsim tasks", description=description, exit_on_error=False, allow_abbrev=False), argv)
    from rich.console import Console

    from diffsim.trainers.run.task_table import task_table

    Console(width=max(Console().width, 100)).print(task_table())  # a table cut short is no use


def run_collect(argv: Sequence[str]) -> None:
    """Runs `diffsim collect`."""
    from diffsim.trainers.run.model_arguments import parse_collect

    options = parse_collect(argv)
    from rich.console import Console

    from diffsim.trainers.run.collect_command import collect_command

    collect_command(options, Console())


def run_fit_model(argv: Sequence[str]) -> None:
    """Runs `diffsim fit-model`."""
    from rich.console import Console

    from diffsim.trainers.run.fit_model import fit_model

    fit_model(argv, Console())


def run_model_report(argv: Sequence[str]) -> None:
    """Runs `diffsim model-report`."""
    from diffsim.trainers.run.model_arguments import parse_report

    options = parse_report(argv)
    from rich.console import Console

    from diffsim.trainers.examine.report import model_report

    model_report(options, Console())


COMMANDS: dict[str, Callable[[Sequence[str]], None]] = {
    "fit": run_fit,
    "evaluate": run_evaluate,
    "compare": run_compare,
    "report": run_report,
    "gradients": run_gradients,
    "tasks": run_tasks,
    "collect": run_collect,
    "fit-model": run_fit_model,
    "model-report": run_model_report,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command. Returns 0, or 2 if it was given wrongly, or 1 if it failed; says why in one line."""
    argv = list(sys.argv[1:] if argv is None else argv)
    if not argv or argv[0] in ("-h", "--help"):
        print(USAGE, end="")
        return 0 if argv else 2
    if argv[0] not in COMMANDS:
        print(f"diffsim: command must be one of {', '.join(COMMANDS)}, got {argv[0]!r}", file=sys.stderr)
        return 2
    name = f"diffsim {argv[0]}"
    try:
        COMMANDS[argv[0]](argv[1:])
    except UsageError as error:
        print(f"{name}: error: {error}", file=sys.stderr)
        return 2
    except (NonFiniteError, FailedRunsError, OSError, ImportError) as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"{name}: interrupted", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
