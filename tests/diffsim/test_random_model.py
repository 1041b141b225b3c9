"""Tasks whose lengths are drawn anew at every reset: the model of each copy, its twin, and the hidden state."""

import mujoco
import pytest
import torch

import diffsim
from diffsim.engine.finite_difference import FiniteDifferenceMDP
from diffsim.mdp import Scenarios
from diffsim.tasks import official_env
from diffsim.tasks.official import OfficialEnv
from diffsim.tasks.random_model import RandomModelTask, write_fields

WHEEL = """
<mujoco>
  <option timestep="0.01" gravity="0 0 -9.81"/>
  <worldbody>
    <body>
      <joint name="hinge" axis="0 1 0"/>
      <inertial pos="0 0 -0.3" mass="{mass}" diaginertia="{inertia} {inertia} {spin}"/>
    </body>
  </worldbody>
  <actuator><motor joint="hinge" gear="2" ctrlrange="-1 1"/></actuator>
</mujoco>
"""
"""A pendulum of a rod on a pivot; mass and inertia depend on the rod's length."""


def mass_and_inertia(length):
    """Of a homogeneous rod of 2 kg/m, and a point of 0.1 kg m^2 that does not depend on it."""
    mass = 2.0 * length
    return mass, mass * length**2 / 12 + 0.1


def wheel_xml(length):
    mass, inertia = mass_and_inertia(length)
    return WHEEL.format(mass=mass, inertia=inertia, spin=0.01)


class Wheel(RandomModelTask):
    """A pendulum whose rod has a length in [0.5, 1.5) m. Its observation hides the length, its reward reads it."""

    nominal_lengths = (1.0,)
    xml_file = wheel_xml(1.0)
    frame_skip = 2
    max_episode_steps = 20
    position_indices = (0,)

    def random_lengths(self, generator):
        return 1.0 + self.uniform(1, 0.5, generator)

    def parameters(self, lengths):
        mass, inertia = mass_and_inertia(lengths)
        zero = torch.zeros_like(mass)
        moments = torch.cat([inertia, inertia, zero + 0.01], dim=1)
        return {
            "body_mass": torch.cat([zero, mass], dim=1),
            "body_inertia": torch.stack([torch.zeros_like(moments), moments], dim=1),
        }

    def reset_model(self, generator):
        return self.uniform(1, 1.0, generator), self.uniform(1, 1.0, generator)

    def observation(self, state):
        return torch.cat(self.split(state)[:2], dim=1)

    def reward(self, state, action, next_state):
        return self.lengths(next_state)[:, 0] * self.split(next_state)[0][:, 0].cos()


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_each_copy_moves_as_the_model_compiled_with_its_length():
    task = diffsim.make(Wheel, num_envs=3, random_model=True)
    state = task.initial(seeded())
    lengths, action = task.lengths(state), torch.tensor([[0.3], [-1.0], [0.7]], dtype=task.dtype)
    next_state = task.transition(state, action)
    assert len(set(lengths[:, 0].tolist())) == 3
    for n in range(3):
        model = mujoco.MjModel.from_xml_string(wheel_xml(float(lengths[n, 0])))
        data = mujoco.MjData(model)
        data.qpos[:], data.qvel[:], data.ctrl[:] = state[n, 0], state[n, 1], action[n, 0]
        mujoco.mj_step(model, data, nstep=2)
        expected = torch.tensor([data.qpos[0], data.qvel[0], lengths[n, 0]])
        torch.testing.assert_close(next_state[n], expected, rtol=0, atol=1e-12)


def test_official_env_has_the_model_of_its_length_and_follows_the_simulator():
    env = official_env(Wheel, random_model=True)
    env.reset(seed=5)
    official = env.unwrapped
    assert isinstance(official, OfficialEnv)
    task, seen = diffsim.make(Wheel, random_model=True), set()
    for _ in range(2):
        state = official._state
        length = float(task.lengths(state))
        seen.add(length)
        compiled = mujoco.MjModel.from_xml_string(wheel_xml(length))
        assert official.model.body_mass == pytest.approx(compiled.body_mass, abs=1e-15)
        assert official.model.body_inertia == pytest.approx(compiled.body_inertia, abs=1e-15)
        for k in range(20):
            action = torch.full((1, 1), 0.2 * (-1) ** k, dtype=task.dtype)
            next_state = task.transition(state, action)
            obs, reward, *_ = env.step(action[0].numpy())
            assert obs == pytest.approx(task.observation(next_state)[0], abs=1e-11)
            assert reward == pytest.approx(float(task.reward(state, action, next_state)), abs=1e-11)
            state = next_state
        env.reset()
    assert len(seen) == 2


@pytest.mark.parametrize("id", ["RllabCartPole-v0", "RllabAcrobot-v0", "RllabDoublePendulum-v0"])
def test_rllab_twins_follow_the_simulator_with_their_lengths(id):
    env, mdp = official_env(id, random_model=True), diffsim.make(id, random_model=True)
    env.reset(seed=3)
    official, generator = env.unwrapped, seeded()
    assert isinstance(official, OfficialEnv)
    state, terminated = official._state, False
    for _ in range(15):
        action = 2 * torch.rand(1, 1, generator=generator, dtype=mdp.dtype) - 1
        next_state = mdp.transition(state, action)
        if not terminated:
            obs, reward, terminated, *_ = env.step(action[0].numpy())
            assert obs == pytest.approx(mdp.observation(next_state)[0], abs=1e-9)
            assert reward == pytest.approx(float(mdp.reward(state, action, next_state)), abs=1e-9)
        state = next_state


@pytest.mark.parametrize("id", [Wheel, "RllabAcrobot-v0", "RllabDoublePendulum-v0"])
def test_gradient_by_hidden_lengths_is_the_central_difference(id):
    task = diffsim.make(id, num_envs=2, random_model=True)
    start, action = task.initial(seeded(1)), torch.tensor([[0.5], [-0.2]], dtype=task.dtype)

    def total(state):
        rewards = []
        for _ in range(4):
            next_state = task.transition(state, action)
            rewards.append(task.reward(state, action, next_state) + task.observation(next_state).sum(1))
            state = next_state
        return torch.stack(rewards).sum()

    leaf = start.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(total(leaf), leaf)
    physics = range(task.mj_model.nq + task.mj_model.nv)
    for column in (*physics, *range(-len(task.nominal_lengths), 0)):
        for world in range(2):
            shift = torch.zeros_like(start)
            shift[world, column] = 1e-6
            difference = (total(start + shift) - total(start - shift)) / 2e-6
            assert float(gradient[world, column]) == pytest.approx(float(difference), rel=1e-6, abs=1e-6)


def test_scenarios_fix_the_lengths():
    task = diffsim.make(Wheel, num_envs=4, random_model=True)
    first, again = (Scenarios.draw(task, 3, seeded(2)) for _ in range(2))
    assert torch.equal(first.initial, again.initial)
    lengths = torch.stack([task.lengths(state) for state in (first.initial, *first.resets)])
    assert lengths.unique().numel() == 5 * 4
    assert lengths.min() >= 0.5 and lengths.max() < 1.5


def test_without_the_option_lengths_are_nominal_and_no_part_of_the_state():
    task = diffsim.make(Wheel, num_envs=2)
    state = task.initial(seeded())
    assert state.shape == (2, 2)
    assert task.lengths(state).tolist() == [[1.0], [1.0]]


def test_impossible_random_models_are_refused():
    with pytest.raises(TypeError, match="random_model"):
        diffsim.make("Hopper-v5", random_model=True)
    with pytest.raises(ValueError, match=r"random_model must be False for finite differences"):
        FiniteDifferenceMDP(diffsim.make(Wheel, random_model=True))
    stepped = type("Wheel", (Wheel,), {"simulated": False})
    with pytest.raises(ValueError, match=r"random_model must be False for a task that C MuJoCo steps"):
        stepped(random_model=True)


def test_a_written_centre_of_mass_moves_bodies_whose_own_is_at_their_origin():
    sphere = '<mujoco><worldbody><body pos="0 0 1"><freejoint/><geom size="0.1"/></body></worldbody></mujoco>'
    mj_model = mujoco.MjModel.from_xml_string(sphere)
    write_fields(mj_model, {"body_ipos": torch.tensor([[[0.0, 0.0, 0.0], [0.05, 0.0, 0.0]]])})
    data = mujoco.MjData(mj_model)
    mujoco.mj_step(mj_model, data)
    assert data.xipos[1, 0] == pytest.approx(0.05, abs=1e-6)
    assert data.geom_xpos[0, 0] == pytest.approx(0.0, abs=1e-6)
