"""Several lanes per world, emulated on the CPU: the same bits as one lane, and a forgotten sync is found."""

import os
from pathlib import Path

import numpy as np
import pytest

from diffsim.compile.model import Model
from diffsim.engine.compilation import modules_of
from tests import processes

from .lane_checks import ASSETS, FILES, MODELS


def run(output: Path, lanes: int, *arguments: str) -> dict[str, np.ndarray]:
    """Results of `lane_checks`; with 0 lanes, of the kernels that run a world's whole launch."""
    environment = os.environ | {"DIFFSIM_LANES": str(lanes)}
    processes.run("-m", "tests.diffsim.lane_checks", output, *arguments, env=environment, check=True)
    return dict(np.load(output))


@pytest.fixture(scope="module")
def one_lane(tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    return run(tmp_path_factory.mktemp("lanes") / "one.npz", 1)


@pytest.mark.parametrize(("lanes", "models"), [(4, len(FILES)), (32, 4)])
def test_lanes_give_the_same_bits(one_lane, tmp_path, lanes, models):
    results = run(tmp_path / "lanes.npz", lanes, str(models))
    assert {name.split()[0] for name in results} == {path.stem for path in FILES[:models]}
    assert not [name for name, value in results.items() if not np.array_equal(one_lane[name], value)]


def test_one_lane_gives_what_a_whole_launch_gives(one_lane, tmp_path):
    """Up to rounding: the compiler optimises the latter, and its Jacobian comes from a kernel of its own."""
    for name, value in run(tmp_path / "whole.npz", 0).items():
        np.testing.assert_allclose(one_lane[name], value, rtol=1e-9, atol=1e-9, err_msg=name)


def test_a_forgotten_sync_is_found(one_lane, tmp_path):
    results = run(tmp_path / "lanes.npz", 4, "1", "without")
    assert any(not np.array_equal(value, one_lane[name]) for name, value in results.items())


def names(file: Path, **options: bool) -> set[str]:
    """Short names of a model's modules."""
    return {module.name.removeprefix("diffsim.stages.") for module in modules_of(Model.from_mjcf(file), **options)}


def test_a_model_compiles_what_it_needs():
    hopper = names(ASSETS / "hopper.xml")
    assert {"frames", "rows", "solve", "gather", "collide.plane_capsule", "collide.capsule_capsule"} <= hopper
    assert not {"implicit", "joined", "lines", "collide.box_box"} & hopper
    assert "collide_gradient.plane_capsule" not in names(ASSETS / "hopper.xml", adjoint=False)
    assert {"joined", "implicit_adjoint"} - names(MODELS / "contact_weld.xml") == set()
    assert {"lines", "lines_gradient"} - names(MODELS / "spatial_tendons.xml") == set()
    assert {"collide.box_box", "collide.plane_box"} <= names(MODELS / "contact_boxes.xml")
    assert "parameters" in names(ASSETS / "hopper.xml", parameters=True) - hopper


@pytest.mark.parametrize("lanes", ["3", "64", "four"])
def test_a_number_of_lanes_that_no_world_can_have(lanes):
    environment = os.environ | {"DIFFSIM_LANES": lanes}
    result = processes.run("-c", "import diffsim.physics.lanes", env=environment)
    rule = "DIFFSIM_LANES must be 0 for no emulation, or a power of two up to 32, got"
    assert f"{rule} {lanes!r}" in result.stderr
