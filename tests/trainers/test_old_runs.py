"""Run folders made before options and modules were renamed load and resume; old option names are refused."""

import os
from pathlib import Path

import pytest

from diffsim.trainers.errors import OptionError
from diffsim.trainers.pathwise.shac import SHAC
from diffsim.trainers.run.arguments import parse_fit
from diffsim.trainers.run.run_folder import with_present_names
from tests import processes

ROOT = Path(__file__).parents[2]


def test_old_runs_continue_as_they_would_have(tmp_path):
    environment = {name: value for name, value in os.environ.items() if name != "DIFFSIM_X64"}
    processes.run("-m", "tests.trainers.old_runs_checks", tmp_path, cwd=ROOT, env=environment, check=True)


@pytest.mark.parametrize(
    ("algorithm", "old", "new"),
    [
        ("SHAC", "average", "actor_ema"),
        ("SHAC", "end_beyond", "termination_bounds"),
        ("ModelBased", "member", "propagation"),
    ],
)
def test_old_names_are_refused_with_the_new_one(algorithm, old, new):
    with pytest.raises(OptionError, match=f"option --{old} is now --{new}"):
        parse_fit(["--task=Hopper-v5", f"--algorithm={algorithm}", f"--{old}=0.5"])


def test_old_names_are_refused_in_python():
    with pytest.raises(TypeError, match="SHAC's option average is now actor_ema"):
        SHAC(None, None, average=0.5)  # pyright: ignore


def test_old_options_get_their_present_names_and_values():
    old = {"member": "step", "improver_kwargs": {"average": 0.5}, "gamma": 0.9}
    assert with_present_names(old) == {"propagation": "ts1", "improver_kwargs": {"actor_ema": 0.5}, "gamma": 0.9}
    assert with_present_names({"member": "episode"}) == {"propagation": "tsinf"}
