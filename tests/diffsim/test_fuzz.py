"""Random models either step and differentiate as in C MuJoCo, or are refused."""

from collections import Counter

import mujoco
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, note, settings

import diffsim

from .contact_reference import Tracer, searched
from .engine import simulator, tensors
from .fuzz_models import models
from .reference import Stepper, converge, displace, moving_states

EXAMPLES, WORLDS, STEPS = 200, 2, 2
TOLERANCE = 1e-7
# A larger growth of a change of 1e-10 in C means that rounding errors can grow as much: the state is no reference.
NUDGE, GROWTH = 1e-10, 1e5
# Imbalance of forces at C's acceleration, relative to the largest force, above which its solver has not converged.
IMBALANCE = 1e-9
# Radians or metres per time step in C above which the motion counts as divergent.
FASTEST = 10.0
SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example]


def error(actual: np.ndarray, expected: np.ndarray, start: np.ndarray, nq: int) -> float:
    """Error of positions and velocities [nq + nv], each relative to the largest at start or end."""
    size = np.maximum(np.abs(start), np.abs(expected))
    return max(np.abs(actual - expected)[part].max() / size[part].max() for part in (np.s_[:nq], np.s_[nq:]))


def fault(mj_model: mujoco.MjModel, state: np.ndarray, ctrl: np.ndarray) -> str | None:
    """Why C MuJoCo is no reference for steps from a state, judged by its own data; None if it is one."""
    tracer = Tracer(mj_model)
    data = tracer.data
    for _ in tracer.signatures(state, ctrl, STEPS):
        inertial = np.zeros(mj_model.nv)
        mujoco.mj_mulM(mj_model, data, inertial, data.qacc)
        forces = [inertial, data.qfrc_smooth, data.qfrc_constraint]
        if not np.isfinite(inertial).all():
            return "acceleration is not finite"
        if searched(mj_model, data.contact.geom):
            return "contact is approximate"
        if mj_model.opt.timestep * np.abs(data.qvel).max() > FASTEST:
            return "motion diverges"
        imbalance = inertial - data.qfrc_smooth - data.qfrc_constraint
        if np.abs(imbalance).max() > IMBALANCE * max(np.abs(f).max() for f in forces):
            return "solver has not converged"
    stepper = Stepper(mj_model)
    expected = stepper.step(state, ctrl, STEPS)
    if any(warning.number for warning in stepper.data.warning):
        return "state was reset"
    rng = np.random.default_rng(0)
    for _ in range(3):
        nudged = displace(mj_model, state, NUDGE * rng.uniform(-1, 1, 2 * mj_model.nv + mj_model.na))
        if error(stepper.step(nudged, ctrl, STEPS), expected, state, mj_model.nq) > GROWTH * NUDGE:
            return "motion jumps at the state"
    return None


def check(mj_model: mujoco.MjModel) -> str:
    """Compares steps from random moving states with C's; returns the outcome in words."""
    try:
        sim = simulator(mj_model, WORLDS)
    except diffsim.UnsupportedModelError as refusal:
        assert refusal.features
        return "refused"
    state, ctrl = moving_states(mj_model, WORLDS)
    faults = [fault(mj_model, *world) for world in zip(state, ctrl, strict=True)]
    if all(faults):
        return str(faults[0])
    # Replaces states without a reference by one that has a reference; worlds are independent.
    good = [world for world in range(WORLDS) if not faults[world]]
    state, ctrl = (x[[world if world in good else good[0] for world in range(WORLDS)]] for x in (state, ctrl))
    inputs = tensors(state, ctrl, requires_grad=True)
    output = sim.step(*inputs, num_steps=STEPS)
    actual, expected = output.detach().numpy(), Stepper(mj_model).step_batch(state, ctrl, STEPS)
    for world in good:
        difference = error(actual[world], expected[world], state[world], mj_model.nq)
        assert difference <= TOLERANCE, (world, difference)
    weight = torch.from_numpy(np.random.default_rng(1).standard_normal(output.shape))
    grads = torch.autograd.grad((weight * output).sum(), inputs)
    assert all(bool(torch.isfinite(grad).all()) for grad in grads), "gradient is not finite"
    return "compared"


def load(mjcf: str) -> mujoco.MjModel:
    """A model whose constraint solver runs until it can no longer improve."""
    mj_model = mujoco.MjModel.from_xml_string(mjcf)
    converge(mj_model)
    mj_model.opt.iterations = 100
    return mj_model


def test_random_models():
    outcomes: Counter[str] = Counter()

    @settings(derandomize=True, deadline=None, max_examples=EXAMPLES, database=None, suppress_health_check=SLOW)
    @given(models())
    def run(mjcf: str) -> None:
        note(mjcf)
        outcomes[check(load(mjcf))] += 1

    run()
    print(dict(outcomes))
    assert outcomes["compared"] >= outcomes.total() / 2, outcomes


def test_welds_where_a_joint_follows_a_ball_joint_are_refused():
    # MuJoCo's rate of the ball joint's Jacobian then contains the velocity of the joint after it.
    mjcf = """<mujoco><worldbody><body name="arm">{}<geom size="0.1"/></body></worldbody>
    <equality><weld name="hold" body1="world" body2="arm"/></equality></mujoco>"""
    with pytest.raises(diffsim.UnsupportedModelError, match="equality weld 'hold' on body 'arm'"):
        simulator(load(mjcf.format('<joint type="ball"/><joint type="slide"/>')), 1)
    assert check(load(mjcf.format('<joint type="slide"/><joint type="ball"/>'))) == "compared"
