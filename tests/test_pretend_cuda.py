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
    assert sum(second.values()) <= WAITS_PER_ITERATION.get(name, 1), second
    assert first and resumed


def test_waits_are_counted(worker):
    counted = {"item", "bool", "cpu", "mask", "upload", "synchronize"}
    assert worker("count_waits") == {name: int(name in counted) for name in (*counted, "sum", "filled", "where")}


def test_devices_do_not_mix(worker):
    assert "Expected all tensors to be on the same device" in worker("host_and_device")


@pytest.mark.parametrize("name", ["SHAC", "SAC", "PETS"])
def test_a_checkpoint_moves_to_the_cpu_and_back(worker, name):
    assert worker("move_checkpoint", name) == ["cpu"]  # the pretended device saves tensors of the CPU


@pytest.mark.parametrize("name", ["SHAC", "SAC"])
def test_the_second_device(worker, name):
    worker("train", name, "cuda:1")


@pytest.mark.parametrize("name", ["TD3", "DDPG-hindsight"])
def test_replay_that_does_not_fit_is_on_the_cpu(worker, name):
    assert worker("replay_elsewhere", name) == {"rows": "cpu", "batch": "cuda"}


def test_updates_written_for_a_compiler(worker):
    worker("uncompiled_updates", "SAC")


def test_a_window_of_every_task_waits_once(worker):
    waits = worker("waits_of_tasks")
    assert len(waits) > 10 and set(waits.values()) == {1}, waits


@pytest.mark.parametrize("options", [{}, {"remat": True, "value_slope_weight": 0.1}])
def test_windows_replayed_as_a_graph_train_to_the_same_bits(worker, options):
    assert worker("captured_windows", options) == {"equal": True, "replays": 4}


def test_divergence_in_a_captured_window_is_explained(worker):
    assert worker("captured_divergence") == (
        "at time step 0 of the window, ctrl must be finite, got nan at world 0, index 0"
    )


@pytest.mark.parametrize(("factor", "taken"), [(0.02, 1.0), (0.1, 0.25), (-0.1, 0.0)])
def test_the_line_search_takes_the_step_that_it_takes_on_the_cpu(worker, factor, taken):
    on_cpu, on_device = worker("line_searches", factor)
    assert on_device == on_cpu and on_cpu[0] == taken


def test_divergence_is_explained_at_the_end_of_an_iteration(worker):
    assert worker("divergence", "PPO") == (
        "at time step 0 of the window, ctrl must be finite, got nan at world 0, index 0"
    )


def test_a_read_in_a_capture_is_refused(worker):
    assert "not permitted when stream is capturing" in worker("read_in_a_capture")


def test_lightning_adds_no_wait(worker):
    assert worker("waits_of_lightning", "SHAC") == {}


def test_the_check_of_a_gpu(worker):
    """`benchmarks.gpu`: the values of the kernels for GPUs, with one lane, are those in the file."""
    found = worker("check_gpu")
    assert found["failed"] == []
    assert found["skipped"] == []
    assert list(found["parts"]) == ["modules", "parity", "repeatability", "graphs", "speed", "windows"]
