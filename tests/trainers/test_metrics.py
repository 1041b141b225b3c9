"""Metrics of an iteration, late checks, states of generators, and medians of some samples."""

import numpy as np
import pytest
import torch

from diffsim.engine.checks import DeferredChecks
from diffsim.random_state import restore
from diffsim.trainers.metrics import Selected, check_late, ended_episodes, measured
from diffsim.trainers.pathwise.window import clip_samples

CPU = torch.device("cpu")


def test_metrics_are_read_as_numbers():
    value = torch.tensor([[1.0, 5.0], [3.0, 7.0]])
    chosen = torch.tensor([[True, False], [False, True]])
    found = measured(
        lambda: {
            "count": 3,
            "flag": torch.tensor(True),
            "long": torch.tensor(2**40 + 1),
            "float32": torch.tensor(0.1),
            "mean": Selected(value, chosen),
            "none": Selected(value, torch.zeros_like(chosen)),
        },
        CPU,
    )
    assert found == {"count": 3.0, "flag": 1.0, "long": 2.0**40 + 1, "float32": float(np.float32(0.1)), "mean": 4.0}


def test_late_checks_of_the_cpu_are_immediate():
    seen = []

    def iterate():
        check_late(torch.tensor(False), lambda: seen.append("good"))
        check_late(torch.tensor(True), lambda: seen.append("bad"))
        return {"seen": float(len(seen))}

    assert measured(iterate, CPU) == {"seen": 1.0} and seen == ["bad"]


def test_readings_keep_their_shapes():
    checks = DeferredChecks()
    first, second = checks.read(torch.arange(6).view(2, 3)), checks.read(torch.tensor(2.5))
    checks.finish()
    assert first.array.tolist() == [[0, 1, 2], [3, 4, 5]] and second.array.item() == 2.5


def test_the_first_check_that_failed_explains():
    checks, seen = DeferredChecks(), []
    for place, failed in enumerate((False, True, True)):
        checks.place = place
        checks.add(torch.tensor(failed), lambda place=place: seen.append(place))
    with pytest.raises(AssertionError, match="a check failed, but its repetition did not"):
        checks.finish()
    assert seen == [1] and checks.failed_at == 1


def test_state_of_a_generator_and_of_another_kind():
    source = torch.Generator().manual_seed(3)
    state = source.get_state()
    expected = torch.rand(4, generator=source)
    same, others = torch.Generator(), []
    restore(same, state)
    assert torch.equal(torch.rand(4, generator=same), expected)
    for foreign in (torch.arange(16, dtype=torch.uint8), torch.arange(16, dtype=torch.uint8), state[:16]):
        restore(same, foreign)  # 16 bytes are a state of CUDA's generator
        others.append(torch.rand(4, generator=same))
    assert torch.equal(others[0], others[1]) and not torch.equal(others[0], others[2])


def test_clipping_by_the_median_of_counted_samples():
    gradient = torch.tensor([[3.0, 4.0], [0.0, 1.0], [0.0, 2.0], [100.0, 0.0]])
    counted = torch.tensor([True, True, True, False])
    _, scale = clip_samples(gradient, 2.0, counted)
    assert scale.tolist() == pytest.approx([0.8, 1.0, 1.0, 0.04])  # twice the median 2
    _, of_some = clip_samples(gradient[:3], 2.0)
    assert torch.equal(scale[:3], of_some)


@pytest.mark.parametrize(
    ("ended", "expected"),
    [([True, False, True], {"return": 3.0, "episodes": 2.0})] + [([False] * 3, {"episodes": 0.0})],
)
def test_mean_return_and_number_of_ended_episodes(ended, expected):
    total = torch.tensor([2.0, 100.0, 4.0])
    assert measured(lambda: ended_episodes(total, torch.tensor(ended)), CPU) == expected
