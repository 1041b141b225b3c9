"""Running a comparison: only unfinished runs, with the same results after interruptions."""

import io
import itertools
import os
import time
from pathlib import Path

import pytest
from rich.console import Console

from diffsim.trainers.cli import main
from diffsim.trainers.compare import compare as command
from diffsim.trainers.compare.compare import CompareOptions, compare, run_all, start
from diffsim.trainers.compare.comparison_file import read_comparison
from diffsim.trainers.compare.launchers import LocalLauncher
from diffsim.trainers.errors import OptionError
from tests.processes import Process
from tests.trainers.compare.in_process import Done, InProcess
from tests.trainers.compare.small import LONG, SMALL, assert_same

ROOT = Path(__file__).parents[3]


def console():
    return Console(file=io.StringIO())


def written(tmp_path, text=SMALL):
    path = tmp_path / "small.yaml"
    path.write_text(text)
    return path


def test_every_run_runs_once_with_the_same_evaluations_and_a_report_is_written(tmp_path, monkeypatch):
    launcher = InProcess()
    monkeypatch.setattr(command, "make_launcher", lambda name: launcher)
    options = CompareOptions(output=str(tmp_path / "out"))
    assert compare(str(written(tmp_path)), options, console()) == 0
    assert list(launcher.started) == [f"Reacher-v5-{name}-seed-{seed}" for seed in (0, 1) for name in ("BPTT", "TD3")]
    assert (tmp_path / "out" / "report" / "index.html").exists()
    for run in read_comparison(tmp_path / "small.yaml", tmp_path / "out").runs:
        rows = run.folder.read_metrics()
        evaluated = [row["env_steps"] for row in rows if "eval/return" in row]
        assert evaluated == [0, 12, 24], "before training and at every multiple, for every algorithm"
        assert all("eval/stochastic_return" in row for row in rows if "eval/return" in row)
        assert rows[-1]["eval_seconds"] < rows[-1]["seconds"]
        kinds = [line.split(",")[0] for line in run.folder.final.read_text().splitlines()[1:]]
        assert kinds == ["mean", "mean", "sampled", "sampled"]
    launcher.started.clear()
    assert compare(str(tmp_path / "small.yaml"), options, console()) == 0
    assert not launcher.started, "no run is run twice"


def test_an_interrupted_run_is_resumed_with_the_same_results(tmp_path):
    whole = read_comparison(written(tmp_path), tmp_path / "whole")
    parts = read_comparison(tmp_path / "small.yaml", tmp_path / "parts")
    run_all(whole, InProcess(), 1, console())
    for run in parts.runs:
        budget = [word for word in run.arguments() if not word.startswith("--env_steps")]
        assert main(["fit", *budget, "--env_steps=12"]) == 0
        run.folder.final.unlink()  # as if stopped there
    launcher = InProcess()
    for run in parts.runs:  # a resumed run keeps the budget in its config, which is here the shortened one
        config = run.folder.config
        config.write_text(config.read_text().replace("env_steps: 12\n", "env_steps: 24\n", 1))
    assert not run_all(parts, launcher, 1, console())
    assert all(words[0] == "--resume" for words in launcher.started.values())
    for one, other in zip(whole.runs, parts.runs, strict=True):
        assert_same(one.folder, other.folder)
    with pytest.raises(AssertionError):  # negative control: other seeds have other results
        assert_same(whole.runs[0].folder, whole.runs[2].folder)


FAILING = """
options: {env_steps: 40, evaluate_episodes: 1, final_episodes: 1}
tasks: [Reacher-v5]
algorithms:
  PETS: {initial_steps: 1, planner_kwargs: {horizon: 1, num_plans: 2, num_best: 2, num_particles: 1, rounds: 1}}
  BPTT: {num_envs: 2, horizon: 10, hidden_sizes: [4]}
"""


def test_a_failed_run_is_reported_and_tried_again_and_does_not_stop_others(tmp_path, monkeypatch, capsys):
    """One step is too few to fit a model, which is detected only in training."""
    path = written(tmp_path, FAILING)
    monkeypatch.setattr(command, "make_launcher", lambda name: InProcess(capsys))
    for _ in range(2):
        assert main(["compare", str(path), "--output", str(tmp_path / "out")]) == 1
        captured = capsys.readouterr()
        message = "PETS-seed-0: diffsim fit: error: initial_steps must cover >= 2 transitions"
        assert message in captured.out.replace("failed: Reacher-v5-", "") and "1 run(s) failed" in captured.err
    comparison = read_comparison(path, tmp_path / "out")
    failed, finished = comparison.runs
    assert finished.finished and not failed.finished
    assert "initial_steps must cover" in failed.error.read_text()
    assert "initial_steps must cover" in (tmp_path / "out" / "report" / "report.md").read_text()


def test_an_existing_run_with_other_options_is_refused(tmp_path, capsys):
    path = written(tmp_path)
    comparison = read_comparison(path, tmp_path / "out")
    start(comparison.runs[0], InProcess())
    path.write_text(SMALL.replace("horizon: 3", "horizon: 4"))
    assert main(["compare", str(path), "--output", str(tmp_path / "out")]) == 2
    printed = capsys.readouterr().err
    assert "BPTT-seed-0 holds a run with horizon 3, not 4; delete it, or choose another --output" in printed
    path.write_text(SMALL)
    assert main(["compare", str(path), "--output", str(tmp_path / "out"), "--check", "true"]) == 0


class Endless:
    """A launcher of runs that do not end: an interrupt ends the first one, the others must be killed."""

    def __init__(self):
        self.handles = []

    def start(self, run, arguments):
        handle = Done(None)
        handle.killed = False
        if not self.handles:
            handle.interrupt = lambda: setattr(handle, "status", 0)
        handle.kill = lambda: setattr(handle, "killed", True)
        self.handles.append(handle)
        return handle


def test_ctrl_c_stops_all_active_runs(tmp_path, monkeypatch):
    launcher = Endless()
    monkeypatch.setattr(command, "GRACE", 0.3)
    sleeps, sleep = itertools.count(), time.sleep

    def interrupted(seconds):
        if next(sleeps) == 1:
            raise KeyboardInterrupt
        sleep(0.01)

    monkeypatch.setattr(command.time, "sleep", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_all(read_comparison(written(tmp_path), tmp_path / "out"), launcher, 2, console())
    first, second = launcher.handles
    assert len(launcher.handles) == 2 and first.status == 0 and second.killed


def test_jobs_out_of_range_are_refused():
    with pytest.raises(OptionError, match="jobs must be >= 1, got 0"):
        CompareOptions(jobs=0)


def alive(word):
    """Processes whose command line contains `word`."""
    return [
        path.parent.name
        for path in Path("/proc").glob("[0-9]*/cmdline")
        if path.parent.name != str(os.getpid()) and word in read_bytes(path).decode(errors="replace")
    ]


def read_bytes(path):
    try:
        return path.read_bytes()
    except OSError:  # it has just ended
        return b""


@pytest.mark.skipif(not Path("/proc").exists(), reason="looks for processes in /proc")
def test_after_kill_9_all_runs_end_and_a_restart_gives_the_same_results(tmp_path):
    """The real command and real processes, killed in the middle of a run."""
    path, output = written(tmp_path, LONG), tmp_path / "killed"
    words = ["-m", "diffsim.trainers.cli", "compare", path, "--jobs", "2", "--output", output]
    killed = read_comparison(path, output)
    process, deadline = Process(words, cwd=ROOT), time.monotonic() + 240
    while time.monotonic() < deadline and process.poll() is None:
        if any(run.folder.checkpoint.exists() for run in killed.runs):
            break
        time.sleep(0.02)
    assert process.poll() is None, "it must be running"
    process.kill()
    deadline = time.monotonic() + 20
    while alive(str(output)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not alive(str(output)), "its runs must end with it"
    assert not all(run.finished for run in killed.runs)
    assert not run_all(killed, InProcess(), 1, console())
    whole = read_comparison(path, tmp_path / "whole")
    assert not run_all(whole, InProcess(), 1, console())
    for one, other in zip(killed.runs, whole.runs, strict=True):
        assert_same(one.folder, other.folder)


def test_an_interrupt_ends_a_local_run_with_a_checkpoint(tmp_path):
    run = read_comparison(written(tmp_path, LONG.replace("900", "9000000")), tmp_path / "out").runs[0]
    run.folder.path.parent.mkdir(parents=True)
    handle = start(run, LocalLauncher())
    try:
        deadline = time.monotonic() + 120
        while len(run.folder.read_metrics()) < 3 and time.monotonic() < deadline and handle.poll() is None:
            time.sleep(0.05)
        assert handle.poll() is None, run.log.read_text()
        handle.interrupt()
        while handle.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        assert handle.poll() == 130 and "To continue" in run.log.read_text()
        assert run.folder.checkpoint.exists() and not run.finished
    finally:
        handle.kill()
