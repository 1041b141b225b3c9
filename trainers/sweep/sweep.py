"""`diffsim sweep`: tries options that Optuna proposes, several runs at a time, and writes a report."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from rich.console import Console

from diffsim.trainers.compare.compare import PAUSE, explain_failure, locked, make_launcher, start, stop
from diffsim.trainers.compare.comparison import Run
from diffsim.trainers.compare.launchers import Handle, Launcher
from diffsim.trainers.errors import FailedRunsError, OptionError
from diffsim.trainers.options import check_fields
from diffsim.trainers.run.extras import import_extra
from diffsim.trainers.run.parsing import make_parser, parse
from diffsim.trainers.sweep.report import write_sweep_report
from diffsim.trainers.sweep.sweep_file import Sweep, read_sweep

COPY, STUDY = "sweep.yaml", "study.log"


@dataclass(frozen=True)
class SweepOptions:
    """A search for options.

    Args:
        jobs: number of runs at a time, at least 1.
        output: folder of the runs and the report; runs/sweep/NAME if None. A sweep that was stopped continues there.
    """

    jobs: int = 1
    output: str | None = None

    def __post_init__(self) -> None:
        check_fields(self, {"jobs": ">= 1"})


@dataclass
class Trial:
    """A set of options that is being tried.

    Attributes:
        number: in the study.
        waiting: runs that have not begun.
        active: runs that are under way.
        runs: all of its runs.
    """

    number: int
    runs: list[Run]
    waiting: list[Run] = field(default_factory=list)
    active: dict[Run, Handle] = field(default_factory=dict)

    @property
    def score(self) -> float:
        """Mean over the seeds of the mean final return."""
        return float(np.mean([np.mean(run.folder.read_final()) for run in self.runs]))


def sweep_command(argv: Sequence[str], console: Console) -> None:
    """Runs or continues the sweep that `argv` names.

    Raises: OptionError that lists all faults, before any run starts; UsageError without the sweep extra;
        KeyboardInterrupt after all runs have stopped; FailedRunsError if no trial was completed.
    """
    parser = make_parser("sweep", "Search for good options by Optuna. A sweep that was stopped continues.")
    parser.add_argument("config", metavar="FILE", help="YAML file of the sweep.")
    parser.add_class_arguments(SweepOptions)
    values = parse(parser, argv).as_dict()
    path, options = Path(values.pop("config")), SweepOptions(**values)
    optuna = import_extra("sweep", "sweep", "optuna")
    sweep = read_sweep(path)
    output = Path(options.output or Path("runs") / "sweep" / sweep.name).absolute()
    (output / "runs").mkdir(parents=True, exist_ok=True)
    with locked(output):
        keep_copy(sweep, output)
        study = open_study(optuna, sweep, output)
        try:
            run_trials(optuna, study, sweep, output, make_launcher("local"), options.jobs, console)
        finally:
            page = write_sweep_report(study, sweep, output)
    console.print(f"report: {page}", soft_wrap=True, markup=False, highlight=False)
    if not any(trial.value is not None for trial in study.trials):
        raise FailedRunsError("no trial was completed")


def keep_copy(sweep: Sweep, output: Path) -> None:
    """Keeps the search in the output folder.

    Raises: OptionError if the folder has another search: its trials could not be compared.
    """
    own = {"options": sweep.options, "search": sweep.search, "seeds": list(sweep.seeds)}
    copy = output / COPY
    if copy.exists() and yaml.safe_load(copy.read_text()) != own:
        raise OptionError(f"output must be new, or of the same options, search and seeds, got {str(output)!r}")
    copy.write_text(yaml.safe_dump(own, sort_keys=False))


def open_study(optuna: Any, sweep: Sweep, output: Path) -> Any:
    """The study in the output folder, created if there is none. Its trials are written to a file as they end."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(output / STUDY)))
    study = optuna.create_study(study_name=sweep.name, storage=storage, direction="maximize", load_if_exists=True)
    # A sweep that continues must not draw the same numbers again; trials that run count as bad ones for the others.
    study.sampler = optuna.samplers.TPESampler(seed=sweep.seed + len(study.trials), constant_liar=True)
    return study


def distributions(optuna: Any, sweep: Sweep) -> dict[str, Any]:
    """The searched options, as Optuna describes them."""
    found = {}
    for name, space in sweep.search.items():
        if isinstance(space, list):
            found[name] = optuna.distributions.CategoricalDistribution(space)
            continue
        low, high, log, step = space["low"], space["high"], bool(space.get("log")), space.get("step")
        if type(low) is int and type(high) is int and type(step) in (int, type(None)):
            found[name] = optuna.distributions.IntDistribution(low, high, log=log, step=step or 1)
        else:
            found[name] = optuna.distributions.FloatDistribution(float(low), float(high), log=log, step=step)
    return found


def run_trials(
    optuna: Any, study: Any, sweep: Sweep, output: Path, launcher: Launcher, jobs: int, console: Console
) -> None:
    """Completes unfinished trials, then starts others until there are enough.

    Raises: KeyboardInterrupt after all active runs have stopped; their trials can be continued.
    """
    spaces = distributions(optuna, sweep)
    begun = [trial for trial in study.trials if trial.state == optuna.trial.TrialState.RUNNING]
    unfinished = [(trial.number, trial.params) for trial in begun]
    trials: list[Trial] = []
    try:
        while True:
            while sum(len(trial.active) for trial in trials) < jobs:
                waiting = next((trial for trial in trials if trial.waiting), None)
                if waiting is None:
                    if unfinished:
                        number, params = unfinished.pop(0)
                    elif len(study.trials) < sweep.trials:
                        asked = study.ask(spaces)
                        number, params = asked.number, asked.params
                    else:
                        break
                    runs = sweep.runs(number, params, output)
                    waiting = Trial(number, runs, [run for run in runs if not run.finished])
                    trials.append(waiting)
                    console.print(f"trial {number}: {params}", soft_wrap=True, markup=False, highlight=False)
                if waiting.waiting:
                    run = waiting.waiting.pop(0)
                    waiting.active[run] = start(run, launcher)
                else:
                    break  # all of its runs are finished already
            if not trials:
                return
            trials = [trial for trial in trials if not ended(optuna, study, trial, console)]
            time.sleep(PAUSE)
    except KeyboardInterrupt:
        console.print("stopping: runs end after their current iteration; Ctrl-C again to stop at once")
        stop({run: handle for trial in trials for run, handle in trial.active.items()})
        raise
    finally:
        for trial in trials:
            for handle in trial.active.values():
                handle.kill()
        launcher.close()


def ended(optuna: Any, study: Any, trial: Trial, console: Console) -> bool:
    """Whether a trial has ended; then tells the study its score, or that it failed."""
    failed = ""
    for run, handle in list(trial.active.items()):
        status = handle.poll()
        if status is not None:
            del trial.active[run]
            failed = failed or ("" if run.finished else explain_failure(run, status))
    if failed:
        for handle in trial.active.values():
            handle.kill()
        study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
        console.print(f"trial {trial.number} failed: {failed}", soft_wrap=True, markup=False, highlight=False)
        return True
    if trial.active or trial.waiting:
        return False
    study.tell(trial.number, trial.score)
    words = f"trial {trial.number}: return {trial.score:,.2f}; best {study.best_value:,.2f}"
    console.print(words, soft_wrap=True, markup=False, highlight=False)
    return True
