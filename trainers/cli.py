"""The `diffsim` command. What a command needs is imported when it runs, so that --help is quick."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from diffsim.trainers.errors import FailedRunsError, NonFiniteError, UsageError

USAGE = """usage: diffsim COMMAND [options]

Model-based reinforcement learning through differentiable MuJoCo physics.

commands:
  fit        train a policy, or continue a run
  evaluate   evaluate a trained policy in the official Gymnasium environment
  compare    train many algorithms on many tasks, and write one report
  report     write the report of a comparison from the runs that exist
  gradients  compare estimators of the policy gradient: variance, bias and cost by horizon
  tasks      list the environments and which of their features are supported
  configs    list the configurations that are shipped
  collect    record experience, as data for a model
  fit-model  fit a model of an environment to data
  model-report
             examine a model: errors, calibration, and the policy gradient through it

diffsim COMMAND --help lists the options of a command. Modules of the current folder can be named:
  diffsim fit --config quickstart
  diffsim fit --task my_module:MyTask-v0 --algorithm my_module:MyAlgorithm --policy my_module:MyPolicy
"""


@contextmanager
def loading() -> Iterator[None]:
    """Imports without the garbage collector, which would take a fifth of the time."""
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
        from diffsim.trainers.run.fit_command import fit_command

    fit_command(argv, Console())


def run_evaluate(argv: Sequence[str]) -> None:
    """Runs `diffsim evaluate`."""
    from jsonargparse import ArgumentParser

    from diffsim.trainers.run.arguments import parse

    parser = ArgumentParser(
        prog="diffsim evaluate",
        description="Evaluate a trained policy in the official Gymnasium environment (C MuJoCo).",
        exit_on_error=False,
        allow_abbrev=False,
    )
    parser.add_argument("run", metavar="RUN", help="Folder of the run.")
    parser.add_argument("--episodes", type=int, default=10, help="Number of episodes, at least 1.")
    parser.add_argument("--seed", type=int, default=1_000_000, help="Seed of the first episode, at least 0.")
    parser.add_argument("--video", action="store_true", help="Record the first episode (needs the video extra).")
    options = parse(parser, argv)
    from rich.console import Console

    with loading():
        from diffsim.trainers.run.evaluate_command import evaluate_command

    evaluate_command(options.run, options.episodes, options.seed, options.video, Console())


def run_compare(argv: Sequence[str]) -> None:
    """Runs `diffsim compare`."""
    from jsonargparse import ArgumentParser

    from diffsim.trainers.compare.compare import CompareOptions, compare
    from diffsim.trainers.run.arguments import parse

    description = "Train many algorithms on many tasks, each run in its own process, and write one report."
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

    description = "Write the report of a comparison from the runs that exist."
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

    description = "List the environments and which of their features are supported."
    parse(ArgumentParser(prog="diffsim tasks", description=description, exit_on_error=False, allow_abbrev=False), argv)
    from rich.console import Console

    from diffsim.trainers.run.task_table import task_table

    Console(width=max(Console().width, 100)).print(task_table())  # narrower, columns would be cut


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


def run_configs(argv: Sequence[str]) -> None:
    """Runs `diffsim configs`."""
    from jsonargparse import ArgumentParser

    from diffsim.trainers.run.arguments import CONFIGS, parse

    description = (
        "List the configurations that are shipped, for `diffsim fit --config NAME` and `diffsim compare NAME`."
    )
    parse(
        ArgumentParser(prog="diffsim configs", description=description, exit_on_error=False, allow_abbrev=False), argv
    )
    for path in (*sorted(CONFIGS.glob("*.yaml")), *sorted(CONFIGS.glob("compare/*.yaml"))):
        first = path.read_text().splitlines()[0].removeprefix("#").strip()
        print(f"{str(path.relative_to(CONFIGS).with_suffix('')):<36} {first}")


COMMANDS: dict[str, Callable[[Sequence[str]], None]] = {
    "fit": run_fit,
    "evaluate": run_evaluate,
    "compare": run_compare,
    "report": run_report,
    "gradients": run_gradients,
    "tasks": run_tasks,
    "configs": run_configs,
    "collect": run_collect,
    "fit-model": run_fit_model,
    "model-report": run_model_report,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command. Returns 0, or 2 if its arguments are wrong, or 1 if it fails; prints why in one line."""
    argv = list(sys.argv[1:] if argv is None else argv)
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())  # a person's own modules, as with `python -m`
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
