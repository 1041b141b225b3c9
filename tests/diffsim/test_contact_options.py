"""References of friction of their own, and <option flag override>, equal C MuJoCo's, with gradients."""

import mujoco
import pytest
import torch

import diffsim

from .contact_reference import derivative, visited_states
from .engine import simulator, tensors
from .reference import Stepper, asset, converge, relative_error
from .test_contact_gradient import check
from .test_contact_parity import check_forces, check_steps
from .test_parameters import compare

PAIRS = """
  <contact>
    <pair geom1="ground" geom2="foot" condim="6" friction="0.6 0.4 0.05 0.03 0.02" solreffriction="-3 -40"
      solref="0.03 1" solimp="0.7 0.9 0.01 0.5 2"/>
    <pair geom1="ground" geom2="slider" condim="3" solreffriction="0.2 0.7"/>
    <pair geom1="ground" geom2="ball" condim="4" friction="0.4 0.4 0.02 0.01 0.01" solreffriction="0.001 1"
      margin="0.01"/>
  </contact>
  <actuator>"""
OVERRIDE = (
    '<option o_margin="0.012" o_solref="0.04 0.8" o_solimp="0.6 0.9 0.02 0.4 3" o_friction="0.3 0.5 0.02 0.01 0.005"'
)


def model(integrator: str, cone: str = "elliptic", override: bool = False) -> mujoco.MjModel:
    """The test model of elliptic cones with explicit pairs."""
    text = asset("contact_elliptic").read_text().replace('<geom size="0.07"', '<geom name="ball" size="0.07"')
    text = text.replace('cone="elliptic"', f'cone="{cone}" integrator="{integrator}"').replace("<actuator>", PAIRS)
    if override:
        text = text.replace("<option", OVERRIDE)
        text = text.replace("</mujoco>", '<option><flag override="enable"/></option></mujoco>')
    mj_model = mujoco.MjModel.from_xml_string(text)
    converge(mj_model)
    mj_model.opt.iterations = 50
    return mj_model


def check_model(mj_model: mujoco.MjModel) -> None:
    """Steps, forces and gradients."""
    state, ctrl = visited_states(mj_model, 60, 5)
    check_steps(mj_model, state, ctrl, 3)
    check_forces(mj_model, state, ctrl)
    check(mj_model, derivative(mj_model, 4, 1), 1)


@pytest.mark.parametrize("integrator", ["Euler", "RK4", "implicitfast"])
def test_friction_with_its_own_reference(integrator):
    mj_model = model(integrator)
    check_model(mj_model)
    # It has an effect.
    state, ctrl = visited_states(mj_model, 20, 5)
    with_it = Stepper(mj_model).step_batch(state, ctrl)
    mj_model.pair_solreffriction[:] = 0
    assert relative_error(Stepper(mj_model).step_batch(state, ctrl), with_it) > 1e-3


@pytest.mark.parametrize("cone", ["pyramidal", "elliptic"])
def test_override(cone):
    check_model(model("Euler", cone, override=True))


def test_gradients_by_parameters():
    for override in (False, True):
        mj_model = model("Euler", override=override)
        mj_model.geom_sameframe[:] = 0  # it holds for the compiled geom_pos only
        state, ctrl = visited_states(mj_model, 1, 5, seed=2)
        names = ["geom_pos", "geom_size", "geom_friction", "geom_solref", "geom_solimp"]
        seen = compare(mj_model, state[0], ctrl[0], names)
        assert {"geom_pos", "geom_size"} <= seen
        assert override != ("geom_solref" in seen)


def test_contact_forces_have_the_gradient():
    mj_model = model("Euler")
    state, ctrl = visited_states(mj_model, 3, 5, seed=1)
    sim = simulator(mj_model, len(state))

    def forces(x: torch.Tensor) -> torch.Tensor:
        return sim.contacts(x, *tensors(ctrl)).force * 1e-2

    assert torch.autograd.gradcheck(forces, tensors(state, requires_grad=True), eps=1e-7, rtol=1e-4, atol=1e-4)


def test_override_with_gap_and_moving_surfaces_are_refused():
    mj_model = model("Euler", override=True)
    mj_model.pair_gap[0] = 0.01
    with pytest.raises(diffsim.UnsupportedModelError, match="option flag override=enable with gap"):
        diffsim.Model(mj_model)
    mj_model = model("Euler")
    mj_model.geom_surfacevel[mj_model.geom("ground").id] = 1
    with pytest.raises(diffsim.UnsupportedModelError, match="solreffriction with option cone=elliptic and surfacevel"):
        diffsim.Model(mj_model)
