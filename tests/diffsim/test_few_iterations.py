"""Models whose solver stops early in C MuJoCo: the warning, its numbers, and models without it."""

import re
import warnings

import mujoco
import numpy as np
import pytest

import diffsim
from diffsim.compile.few_iterations import THRESHOLD, differences_to_converged

from .contact_reference import TASKS
from .engine import tensors
from .reference import Stepper, asset, converge

BOX = """
<mujoco>
  <option {option}/>
  <worldbody>
    <geom type="plane" size="1 1 1"/>
    <body name="box" pos="0 0 .1" euler="3 4 0"><freejoint/><geom type="box" size=".1 .2 .1"/></body>
  </worldbody>
</mujoco>
"""


def box(option: str) -> mujoco.MjModel:
    return mujoco.MjModel.from_xml_string(BOX.format(option=option))


def test_warns_once_and_names_the_difference():
    mj_model = box('iterations="1" ls_iterations="4"')
    with pytest.warns(diffsim.SolverIterationsWarning) as record:
        model = diffsim.Model(mj_model)
        sim = diffsim.Simulator(model, 1)
    assert len(record) == 1
    message = str(record[0].message)
    assert "solver=NEWTON iterations=1 ls_iterations=4" in message
    assert record[0].filename == __file__
    named = float(re.search(r"up to (\S+) in qvel", message)[1])  # pyright: ignore[reportOptionalSubscript]

    # The box as it falls: one step of C MuJoCo with its own options and converged, and one of the simulator.
    own, converged, state, worst = Stepper(mj_model), box(""), None, 0.0
    converge(converged)
    data = mujoco.MjData(converged)
    for _ in range(100):
        mujoco.mj_step(converged, data)
        state = np.concatenate([data.qpos, data.qvel])
        own.set(state, np.zeros(0)).qacc_warmstart[:] = data.qacc_warmstart
        mujoco.mj_step(mj_model, own.data)
        expected = Stepper(converged).step(state, np.zeros(0))
        found = sim.step(*tensors(state[None], np.zeros((1, 0))), num_steps=1).numpy()[0]
        np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-9)
        worst = max(worst, np.abs(own.data.qvel - found[7:]).max())
    assert 0.2 * worst < named < 5 * worst


def test_the_options_of_the_warning_make_c_mujoco_converge():
    assert differences_to_converged(box('solver="Newton" iterations="100" tolerance="1e-10"'))[0] < 1e-9


@pytest.mark.parametrize(
    "option",
    ['iterations="1"', 'solver="PGS" iterations="2"', 'solver="CG" iterations="2"', 'tolerance="0.1" solver="CG"'],
)
def test_every_solver_that_stops_early_is_found(option):
    mj_model = box(option)
    before = {
        name: np.copy(getattr(mj_model.opt, name)) for name in ("solver", "iterations", "tolerance", "ls_tolerance")
    }
    assert differences_to_converged(mj_model)[0] > THRESHOLD
    with pytest.warns(diffsim.SolverIterationsWarning):
        diffsim.Model(mj_model)
    assert before == {name: getattr(mj_model.opt, name) for name in before}


@pytest.mark.parametrize("option", ["", 'iterations="20"', 'iterations="6" ls_iterations="50"'])
def test_no_warning_if_enough(option):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        diffsim.Model(box(option))


@pytest.mark.parametrize("name", sorted({name for name, _ in TASKS.values()}))
def test_no_official_task_warns(name):
    with warnings.catch_warnings():
        warnings.simplefilter("error", diffsim.SolverIterationsWarning)
        mj_model = mujoco.MjModel.from_xml_path(str(asset(name)))
        diffsim.Model(mj_model)
    assert differences_to_converged(mj_model)[0] < THRESHOLD
