"""`diffsim compare`: runs all unfinished runs, several at a time, and writes the report."""

from __future__ import annotations

import fcntl
import shutil
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from rich.console import Console

from diffsim.trainers.compare.comparison import Comparison, Run
from diffsim.trainers.compare.comparison_file import read_comparison, save_comparison
from diffsim.trainers.compare.faults import require_faultless
from diffsim.trainers.compare.launchers import GRACE, Handle, Launcher, LocalLauncher
from diffsim.trainers.compare.progress import Progress
from diffsim.trainers.compare.report import HISTORY, write_report
from diffsim.trainers.errors import FailedRunsError, UsageError
from diffsim.trainers.options import check_fields
from diffsim.trainers.run.parsing import make_parser, parse

PAUSE = 0.2  # seconds between polls of the runs
PATIENCE = 10.0  # seconds to wait for the runs of a killed comparison to end


@dataclass(frozen=True)
class CompareOptions:
    """A comparison of algorithms.

    Args:
        jobs: number of runs at a time, at least 1.
        output: folder of the runs and the report; runs/compare/NAME if None.
        launcher: "local" for processes of this machine, "ray" for a Ray cluster (needs the ray extra), whose
            machines must all see the output folder and the current folder under the same paths.
        check: only check the comparison, and start no run.
    """

    jobs: int = 1
    output: str | None = None
    launcher: Literal["local", "ray"] = "local"
    check: bool = False

    def __post_init__(self) -> None:
        check_fields(self, {"jobs": ">= 1"})


def compare_command(argv: Sequence[str], console: Console) -> None:
    """Runs a comparison by the options in `argv`.

    Raises: as `compare`; FailedRunsError if a run failed.
    """
    description = "Train many algorithms on many tasks, each run in its own process, and write one report."
    parser = make_parser("compare", description)
    parser.add_argument("config", metavar="CONFIG", help="YAML file of the comparison.")
    parser.add_class_arguments(CompareOptions)
    values = parse(parser, argv).as_dict()
    config = values.pop("config")
    if failed := compare(config, CompareOptions(**values), console):
        raise FailedRunsError(f"{failed} run(s) failed")


def compare(config: str, options: CompareOptions, console: Console) -> int:
    """Runs the comparison in the file `config`, and returns the number of failed runs.

    Raises: OptionError that lists all faults, before any run starts; KeyboardInterrupt after all runs have stopped.
    """
    path = Path(config)
    output = Path(options.output or Path("runs") / "compare" / path.stem).absolute()
    comparison = read_comparison(path, output)
    require_faultless(comparison)
    if options.check:
        console.print(f"{len(comparison.runs)} runs, no faults.")
        return 0
    launcher = make_launcher(options.launcher)
    (output / "runs").mkdir(parents=True, exist_ok=True)
    with locked(output):
        save_comparison(path, output)
        with (output / HISTORY).open("a") as file:
            when = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
            how = f"--jobs {options.jobs} --launcher {options.launcher}"
            finished = sum(run.finished for run in comparison.runs)
            file.write(f"{when}\t{how}\t{finished} of {len(comparison.runs)} runs\n")
        try:
            failed = run_all(comparison, launcher, options.jobs, console)
        finally:
            launcher.close()
        page = write_report(output)
    for run, error in failed.items():
        console.print(f"failed: {run.folder.path.name}: {error}; see {run.log}", soft_wrap=True, markup=False)
    console.print(f"report: {page}", soft_wrap=True, markup=False)
    return len(failed)


def make_launcher(name: str) -> Launcher:
    """The launcher called `name`.

    Raises: UsageError if the extra that it needs is not installed.
    """
    if name == "local":
        return LocalLauncher()
    from diffsim.trainers.compare.ray_launcher import RayLauncher

    return RayLauncher()


@contextmanager
def locked(output: Path) -> Iterator[None]:
    """Locks the folder, because two comparisons at a time would write into the same runs.

    Raises: UsageError if another process holds the lock.
    """
    with (output / ".lock").open("w") as file:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise UsageError(f"output must not be in use by another comparison, got {str(output)!r}") from None
                time.sleep(PAUSE)
        yield


def run_all(comparison: Comparison, launcher: Launcher, jobs: int, console: Console) -> dict[Run, str]:
    """Runs all unfinished runs, `jobs` at a time, and returns the failed ones with their errors.

    Raises: KeyboardInterrupt after all active runs have stopped.
    """
    waiting: deque[Run] = deque()
    active: dict[Run, Handle] = {}
    failed: dict[Run, str] = {}
    with Progress(comparison, console) as progress:
        for run in comparison.runs:
            progress.set(run, "finished" if run.finished else "waiting")
            if not run.finished:
                waiting.append(run)
        try:
            while waiting or active:
                while waiting and len(active) < jobs:
                    run = waiting.popleft()
                    active[run] = start(run, launcher)
                    progress.set(run, "running")
                for run, handle in list(active.items()):
                    status = handle.poll()
                    if status is None:
                        continue
                    del active[run]
                    if run.finished:
                        progress.set(run, "finished")
                    else:
                        failed[run] = explain_failure(run, status)
                        progress.set(run, "failed", failed[run])
                progress.refresh()
                time.sleep(PAUSE)
        except KeyboardInterrupt:
            console.print("stopping: runs end after their current iteration; Ctrl-C again to stop at once")
            stop(active)
            raise
        finally:
            for handle in active.values():
                handle.kill()
    return failed


def start(run: Run, launcher: Launcher) -> Handle:
    """Starts a run, or resumes it if it has a checkpoint."""
    run.error.unlink(missing_ok=True)
    if run.folder.checkpoint.exists():
        return launcher.start(run, ["--resume", str(run.folder.path)])
    shutil.rmtree(run.folder.path, ignore_errors=True)  # stopped before its first checkpoint
    run.log.unlink(missing_ok=True)
    return launcher.start(run, run.arguments())


def stop(active: dict[Run, Handle]) -> None:
    """Interrupts the active runs and waits for them; the caller kills those that take too long."""
    for handle in active.values():
        handle.interrupt()
    deadline = time.monotonic() + GRACE
    while time.monotonic() < deadline and any(handle.poll() is None for handle in active.values()):
        time.sleep(PAUSE)


def explain_failure(run: Run, status: int) -> str:
    """Writes the last line of the run's log to its error file, and returns it."""
    lines = run.log.read_text(errors="replace").split("\n") if run.log.exists() else []
    printed = [line.strip() for line in lines if line.strip()]
    error = printed[-1] if status and printed else f"ended with status {status} before it was complete"
    run.error.write_text(f"{error}\n")
    return error
