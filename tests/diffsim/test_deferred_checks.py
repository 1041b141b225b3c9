"""Checks that are read once for a block of calls: the same errors as call by call, NaN in the world with the fault."""

import mujoco
import pytest
import torch

import diffsim
from diffsim.engine.checks import NonFiniteArgumentError, deferred_checks
from diffsim.trainers.errors import NonFiniteError
from diffsim.trainers.experience.rollout import rollout, window_checks

SLIDER = """
<mujoco>
  <option timestep="1" gravity="0 0 0"/>
  <worldbody>
    <body>
      <joint name="rail" type="slide" axis="1 0 0"/>
      <inertial pos="0 0 0" mass="1" diaginertia="1 1 1"/>
    </body>
  </worldbody>
  <actuator><motor joint="rail"/></actuator>
</mujoco>"""

BALLS = """
<mujoco>
  <worldbody>
    <geom type="plane" size="5 5 1"/>
    <body pos="0 0 1"><freejoint/><geom size="0.1"/></body>
    <body pos="1 0 1"><freejoint/><geom size="0.1"/></body>
  </worldbody>
</mujoco>"""


def slider(num_worlds: int = 3) -> diffsim.Simulator:
    return diffsim.Simulator(diffsim.Model(mujoco.MjModel.from_xml_string(SLIDER)), num_worlds)


def forces(number: float) -> torch.Tensor:
    """Controls of three worlds, of which world 1 has one of its own."""
    return torch.tensor([[1.0], [number], [-2.0]], dtype=diffsim.dtype)


def message(call) -> tuple[type, str]:
    with pytest.raises((ValueError, FloatingPointError, diffsim.ContactOverflowError)) as error:
        call()
    return error.type, str(error.value)


def run(sim, controls):
    state = torch.zeros(3, 2, dtype=diffsim.dtype)
    for ctrl in controls:
        state = sim.step(state, ctrl)
    return state


@pytest.mark.parametrize("number", [9e9, 2e10, float("nan"), float("inf")])
def test_a_block_raises_the_error_of_its_first_call_with_a_fault(number):
    """World 1 is pushed in the third call of five: 9e9 N move 1 kg beyond 1e10 m in two steps of 1 s."""
    sim = slider()
    controls = [forces(0.0)] * 2 + [forces(number)] * 3
    plain = message(lambda: run(sim, controls))
    with pytest.raises(plain[0]) as error, deferred_checks() as checks:
        state = torch.zeros(3, 2, dtype=diffsim.dtype)
        for checks.place, ctrl in enumerate(controls):
            state = sim.step(state, ctrl)
    assert str(error.value) == plain[1]
    assert checks.failed_at == (3 if number == 9e9 else 2)
    assert state[1].isnan().all()
    assert torch.equal(state[[0, 2]], run(sim, [forces(0.0)] * 5)[[0, 2]])


def test_all_results_of_a_world_with_a_fault_are_nan_and_no_other():
    sim = slider()
    state, ctrl = torch.zeros(3, 2, dtype=diffsim.dtype), forces(float("nan"))
    for call in (lambda: sim.advance(state, ctrl), lambda: (state, sim.forward(state, ctrl))):
        with pytest.raises(NonFiniteArgumentError), deferred_checks():
            _, point = call()
        for part in (point.qacc, point.qfrc_constraint, point.qfrc_actuator, point.cfrc_ext):
            assert part[1].isnan().all()
            assert part[[0, 2]].isfinite().all()


def test_gradient_through_a_fault_is_nan_in_its_world_only():
    sim = slider()
    state = torch.zeros(3, 2, dtype=diffsim.dtype, requires_grad=True)
    with pytest.raises(NonFiniteArgumentError), deferred_checks():
        (slope,) = torch.autograd.grad(sim.step(state, forces(float("nan"))).sum(), state)
    # x' = x + v', v' = v + u: the sum of both has slopes 1 and 2
    assert torch.equal(slope[[0, 2]], torch.tensor([[1.0, 2.0]] * 2, dtype=diffsim.dtype))
    assert slope[1].isnan().any()


def test_overflow_of_contacts():
    model = diffsim.Model(mujoco.MjModel.from_xml_string(BALLS), max_contacts=1)
    sim = diffsim.Simulator(model, 2)
    apart = torch.tensor(model.mj_model.qpos0, dtype=diffsim.dtype).repeat(2, 1)
    apart = torch.cat([apart, torch.zeros(2, 12, dtype=diffsim.dtype)], 1)
    on_floor = apart.clone()
    on_floor[1, [2, 9]] = 0.099
    ctrl = torch.zeros(2, 0, dtype=diffsim.dtype)
    with pytest.raises(diffsim.ContactOverflowError, match="2 contacts.*max_contacts=2"), deferred_checks() as checks:
        for checks.place, state in enumerate((apart, on_floor, apart)):
            sim.step(state.requires_grad_(), ctrl).sum().backward()
    assert checks.failed_at == 1
    assert on_floor.grad[1].isnan().any()
    assert on_floor.grad[0].isfinite().all()


def test_error_of_a_fault_replaces_one_that_it_caused():
    sim = slider()
    with pytest.raises(FloatingPointError, match="physics diverged"), deferred_checks():
        run(sim, [forces(9e9)] * 3)
        raise ValueError("a later check of NaN")
    with pytest.raises(ValueError, match="another reason"), deferred_checks():
        run(sim, [forces(1.0)] * 2)
        raise ValueError("another reason")


def test_points_of_a_position_that_is_not_finite():
    sim, qpos = slider(), torch.tensor([[0.0], [float("nan")], [1.0]], dtype=diffsim.dtype)
    plain = message(lambda: sim.xpos(qpos, [1]))
    assert message(lambda: _in_block(lambda: sim.xpos(qpos, [1]))) == plain


def _in_block(call):
    with deferred_checks():
        call()


def test_roll_out_names_the_time_step_of_the_window():
    mdp = diffsim.make("InvertedPendulum-v5", num_envs=3)
    scenarios = diffsim.Scenarios.draw(mdp, 5, torch.Generator().manual_seed(0))
    steps = iter(range(5))

    def policy(obs, noise):
        action = torch.zeros(3, 1, dtype=diffsim.dtype)
        action[2] = float("nan") if next(steps) == 3 else 0.0
        return action

    with pytest.raises(
        NonFiniteError, match="^at time step 3 of the window, ctrl must be finite, got nan at world 2, index 0$"
    ):
        rollout(mdp, policy, scenarios)


def test_checks_after_a_roll_out_have_no_time_step():
    with pytest.raises(NonFiniteError, match="^a gradient$"), window_checks() as checks:
        checks.place = 4
        checks.add(torch.tensor(True), _fail)


def _fail():
    raise NonFiniteError("a gradient")
