"""Runs on a local Ray cluster."""

import gc
import io
import signal
import time
import warnings

import pytest
from rich.console import Console

from diffsim.trainers.compare.compare import run_all, start
from diffsim.trainers.compare.comparison_file import read_comparison
from tests.trainers.compare.in_process import InProcess
from tests.trainers.compare.small import LONG, OWN, SMALL, assert_same, finish, read

ray = pytest.importorskip("ray")


@pytest.fixture
def launcher():
    from diffsim.trainers.compare.ray_launcher import RayLauncher

    before = signal.getsignal(signal.SIGTERM)
    launcher = RayLauncher("local")
    yield launcher
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # the garbage collector closes Ray's processes
        launcher.close()
        del launcher
        gc.collect()
    signal.signal(signal.SIGTERM, before)


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::FutureWarning")
def test_runs_on_a_cluster_have_the_same_results_and_can_be_cancelled(tmp_path, launcher):
    (tmp_path / "small.yaml").write_text(SMALL)
    (tmp_path / "long.yaml").write_text(LONG.replace("900", "9000000"))
    remote, local = (read_comparison(tmp_path / "small.yaml", tmp_path / name) for name in ("remote", "local"))
    long = read_comparison(tmp_path / "long.yaml", tmp_path / "long").runs[0]
    for folder in ("remote", "long"):
        (tmp_path / folder / "runs").mkdir(parents=True)
    handle = start(long, launcher)
    assert not run_all(remote, launcher, 2, Console(file=io.StringIO()))
    assert not run_all(local, InProcess(), 1, Console(file=io.StringIO()))
    for one, other in zip(remote.runs, local.runs, strict=True):
        assert_same(one.folder, other.folder)
    deadline = time.monotonic() + 120
    while not long.folder.checkpoint.exists() and time.monotonic() < deadline and handle.poll() is None:
        time.sleep(0.05)
    assert handle.poll() is None, long.log.read_text()
    handle.interrupt()
    deadline = time.monotonic() + 60
    while handle.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    assert handle.poll() == 1 and long.folder.checkpoint.exists() and not long.finished


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::FutureWarning")
def test_a_run_on_a_cluster_imports_modules_of_the_current_folder(tmp_path, launcher, monkeypatch):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "own_line.py").write_text(OWN)
    monkeypatch.chdir(tmp_path / "home")
    finish(launcher, read(tmp_path).runs[0])
