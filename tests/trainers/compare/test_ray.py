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
from tests.trainers.compare.test_compare import LONG, SMALL, assert_same

ray = pytest.importorskip("ray")


@pytest.fixture
def launcher():
    from diffsim.trainers.compare.ray_launcher import RayLauncher

    before = signal.getsignal(signal.SIGTERM)
    launcher = RayLauncher("local")
    yield launcher
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # Ray leaves its own processes to the garbage collector
        launcher.close()
        del launcher
        gc.collect()
    signal.signal(signal.SIGTERM, before)


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::FutureWarning")
def test_a_cluster_comes_to_the_same_end_and_a_run_can_be_cancelled(tmp_path, launcher):
    (tmp_path / "small.yaml").write_text(SMALL)
    (tmp_path / "long.yaml").write_text(LONG.replace("900", "9000000"))
    there, here = (read_comparison(tmp_path / "small.yaml", tmp_path / name) for name in ("there", "here"))
    long = read_comparison(tmp_path / "long.yaml", tmp_path / "long").runs[0]
    for folder in ("there", "long"):
        (tmp_path / folder / "runs").mkdir(parents=True)
    handle = start(long, launcher)
    assert not run_all(there, launcher, 2, Console(file=io.StringIO()))
    assert not run_all(here, InProcess(), 1, Console(file=io.StringIO()))
    for one, other in zip(there.runs, here.runs, strict=True):
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
