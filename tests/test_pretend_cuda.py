"""Host code for GPUs, on a pretended CUDA device: no GPU is needed, and no kernel runs on one."""

import pytest

from tests.pretend_cuda.libraries import UnavailableError
from tests.pretend_cuda.runs import RUNS, WAITS_PER_ITERATION
from tests.pretend_cuda.worker import Worker


@pytest.fixture(scope="module")
def worker():
    """A process with the pretended device."""
    try:
        process = Worker()
    except UnavailableError as error:
        pytest.skip(str(error))
    yield process
    process.close()


@pytest.mark.parametrize("name", RUNS)
def test_two_iterations_and_a_resume(worker, name):
    first, second, resumed = worker("train", name)["waits"]
    assert sum(second.values()) <= WAITS_PER_ITERATION.get(name, 1000), second
    assert first and resumed


def test_waits_are_counted(worker):
    counted = {"item", "bool", "cpu", "mask", "upload", "synchronize"}
    assert worker("count_waits") == {name: int(name in counted) for name in (*counted, "sum", "filled", "where")}


def test_devices_do_not_mix(worker):
    assert "Expected all tensors to be on the same device" in worker("host_and_device")


@pytest.mark.parametrize("name", ["SHAC", "SAC", "PETS"])
def test_a_checkpoint_moves_to_the_cpu_and_back(worker, name):
    assert worker("move_checkpoint", name) == ["cpu"]  # the pretended device saves tensors of the CPU


@pytest.mark.parametrize("name", ["BPTT", "SHAC", "PPO", "SAC"])
def test_the_second_device(worker, name):
    worker("train", name, "cuda:1")


@pytest.mark.parametrize("name", ["SAC", "TD3", "DDPG-hindsight"])
def test_replay_that_does_not_fit_is_on_the_cpu(worker, name):
    assert worker("replay_elsewhere", name) == {"rows": "cpu", "batch": "cuda"}


def test_updates_written_for_a_compiler(worker):
    worker("uncompiled_updates", "SAC")
