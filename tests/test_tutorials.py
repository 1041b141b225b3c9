"""The tutorials run as scripts, shortened, and say what they find."""

import os
import re
from pathlib import Path

import jupytext
import pytest

from tests import processes

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "examples" / "tutorials"
SHORT = {
    "pendulum_bptt": {"ITERATIONS": 2, "HORIZON": 4, "EPISODES": 1},
    "humanoid_shac": {"ENV_STEPS": 512, "EPISODES": 1},
    "model_from_data": {"STEPS": 400, "EPOCHS": 1, "ITERATIONS": 1, "EPISODES": 1},
    "own_robot": {"ITERATIONS": 1},
    "best_estimator": {"HORIZONS": (1, 2, 4), "BATCHES": 16},
}
"""Values that replace those of the constants at the top of a tutorial."""


def run(name, tmp_path):
    """What a tutorial prints, shortened."""
    code = (FOLDER / f"{name}.py").read_text()
    for constant, value in SHORT[name].items():
        code, count = re.subn(rf"(?m)^{constant} = .*$", f"{constant} = {value}", code)
        assert count == 1, constant
    return processes.run("-c", code, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True).stdout


def test_all_tutorials_are_here():
    names = {path.stem for path in FOLDER.glob("*.py")} - {"__init__"}
    index = (ROOT / "docs" / "tutorials" / "index.md").read_text()
    assert names == set(SHORT) and all(f"(../../examples/tutorials/{name}.py)" in index for name in names)


@pytest.mark.parametrize("name", ["pendulum_bptt", "humanoid_shac", "model_from_data"])
def test_tutorial_runs(name, tmp_path):
    assert re.search(r"return.*: -?\d+ over 1 episodes", run(name, tmp_path))


def test_the_task_of_the_robot_agrees_with_c_mujoco(tmp_path):
    output = run("own_robot", tmp_path)
    assert "\nok\n" in output and re.search(r"the tip is [\d.]+ m", output)


def test_the_gradient_through_the_dynamics_has_less_noise_at_short_horizons(tmp_path):
    rows = re.findall(r"^(through|likelihood)\D* ([\d. e+-]+)$", run("best_estimator", tmp_path), re.M)
    assert [name for name, _ in rows] == ["through", "likelihood", "likelihood"]
    (_, pathwise), *others = rows
    assert all(float(pathwise.split()[0]) < float(other.split()[0]) / 10 for _, other in others)


@pytest.mark.parametrize("name", SHORT)
def test_a_notebook_has_the_cells_of_its_script(name):
    notebook = jupytext.read(FOLDER / f"{name}.py")
    kinds = [cell.cell_type for cell in notebook.cells]
    assert kinds[0] == "markdown" and kinds.count("code") >= 3
    assert notebook.cells[0].source.startswith("# ") and "nbformat" in jupytext.writes(notebook, fmt="ipynb")
