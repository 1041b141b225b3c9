"""When an algorithm looks whether all episodes have ended."""

from itertools import islice

import pytest

from diffsim.trainers.experience.episode_ends import look_times


@pytest.mark.parametrize(
    ("longest", "limit", "expected"),
    [
        (None, None, [16, 32, 48, 64]),
        (None, 40, [16, 32, 40]),
        (0, None, [16, 32, 48, 64]),
        (5, 20, [16, 20]),
        (160, 230, [160, 180, 202, 227, 230]),  # + 20, + 180 // 8, + 202 // 8
        (1000, 1000, [1000]),
        (50, 40, [40]),
    ],
)
def test_looks_are_at_the_last_length_and_then_ever_further_apart(longest, limit, expected):
    assert list(islice(look_times(16, longest, limit), 4 if limit is None else None)) == expected
