"""Process noise and reward noise: effect, size, gradients, and that scenarios fix them."""

import gymnasium
import numpy as np
import pytest
import torch

import diffsim
from diffsim.gym import VectorEnv
from diffsim.mdp import Scenarios
from diffsim.policies import DeterministicMLP
from diffsim.tasks import Task
from diffsim.trainers.experience.rollout import rollout
from tests.trainers.linear import LinearPolicy, LinearQuadratic

from .engine import tensors
from .official import official, put, random_transitions
from .reference import converge

PUCK = """
<mujoco>
  <option timestep="0.01" gravity="0 0 0"/>
  <worldbody>
    <body>
      <joint name="x" type="slide" axis="1 0 0"/>
      <joint name="y" type="slide" axis="0 1 0"/>
      <geom size="0.1" mass="2"/>
    </body>
  </worldbody>
  <actuator><motor joint="x" ctrlrange="-1 1"/></actuator>
</mujoco>
"""


class Puck(Task):
    """A mass of 2 kg without friction, initially at rest; an action is held for four steps of 0.01 s."""

    def reset_model(self, generator):
        return (torch.zeros(self.num_envs, 2, dtype=self.dtype),) * 2

    def observation(self, state):
        return state

    def reward(self, state, action, next_state):
        return next_state[:, 0]

    def terminal(self, state):
        return torch.zeros(self.num_envs, dtype=torch.bool)


@pytest.fixture
def puck(tmp_path):
    path = tmp_path / "puck.xml"
    path.write_text(PUCK)
    return lambda num_envs: Puck(num_envs, "cpu", xml_file=path, frame_skip=4)


def small_policy(mdp):
    torch.manual_seed(0)
    return DeterministicMLP(mdp.observation_space, mdp.action_space, hidden_sizes=(4,), out_scale=1.0).to(mdp.dtype)


@pytest.mark.parametrize("id", ["Hopper-v5", "HalfCheetah-v5", "Humanoid-v5", "InvertedDoublePendulum-v5", "Pusher-v5"])
def test_a_step_is_gymnasiums_with_qfrc_applied(id):
    env = official(id)
    converge(env.model)
    rows, rng = random_transitions(env, 20), np.random.default_rng(0)
    noise, std = rng.standard_normal((20, env.model.nv)), rng.uniform(0.5, 3.0, env.model.nv)
    expected = []
    for state, action, w in zip(rows.state, rows.action, noise, strict=True):
        put(env, state)
        env.data.qfrc_applied[:] = std * w
        obs, reward, *_ = env.step(action)
        expected.append(np.concatenate([env.data.qpos, env.data.qvel, obs, [reward]]))
    mdp = diffsim.make(id, num_envs=20, process_noise=list(std))
    assert mdp.noise_size == env.model.nv
    qpos, qvel, action, w = tensors(*np.split(rows.state, [env.model.nq], axis=1), rows.action, noise)
    state = mdp.state_at(qpos, qvel)

    def outcome(w):
        reached = mdp.transition(state, action, w)
        parts = [
            reached[:, : rows.state.shape[1]],
            mdp.observation(reached),
            mdp.reward(state, action, reached)[:, None],
        ]
        return torch.cat(parts, dim=1).numpy()

    scale = np.maximum(1, np.abs(expected).max(axis=0))
    np.testing.assert_array_less(np.abs(outcome(w) - expected) / scale, 1e-7)
    # Negative control: without the forces the result differs.
    assert (np.abs(outcome(0 * w) - expected) / scale).max() > 1e-3


@pytest.mark.parametrize("id", ["InvertedDoublePendulum-v5", "HalfCheetah-v5"])
def test_gradient_by_noise_and_policy_equals_finite_differences(id):
    mdp = diffsim.make(id, num_envs=2, process_noise=0.5, reward_noise=0.3)
    scenarios = Scenarios.draw(mdp, 6, torch.Generator().manual_seed(0))
    policy, noise = small_policy(mdp), scenarios.process_noise.requires_grad_()
    values = [noise, *policy.parameters()]

    def value():
        return rollout(mdp, policy, scenarios)[0].reward.sum()

    gradient = torch.autograd.grad(value(), values)
    assert all(g.abs().max() > 0 for g in gradient)
    torch.testing.assert_close(gradient[0][..., -1], torch.full((6, 2), 0.3, dtype=mdp.dtype))
    for i in range(len(values)):
        direction, ends = torch.randn_like(values[i]), []
        with torch.no_grad():
            for sign in (1, -1):
                values[i] += sign * 1e-6 * direction
                ends.append(value())
                values[i] -= sign * 1e-6 * direction
        difference = (ends[0] - ends[1]).item() / 2e-6
        # The return is of order 10: rounding of 1e-15 * 10 / 1e-6, about 1e-8.
        assert (gradient[i] * direction).sum().item() == pytest.approx(difference, rel=1e-6, abs=1e-6)


def test_same_scenarios_same_bits():
    mdp = diffsim.make("Hopper-v5", num_envs=3, process_noise=1.0, reward_noise=0.1)
    policy = small_policy(mdp)
    draws = [Scenarios.draw(mdp, 10, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)]
    first, again, other = (rollout(mdp, policy, scenarios)[0] for scenarios in draws)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first.obs[1:], other.obs[1:])


def test_variance_of_the_noise(puck):
    """Held for 4 steps of 0.01 s, a force std * w changes the velocity by std * w * 0.04 / 2 kg."""
    mdp, horizon = puck(4000), 5
    mdp.set_process_noise((3.0, 0.5))
    scenarios = Scenarios.draw(mdp, horizon, torch.Generator().manual_seed(0))
    trajectory, _ = rollout(mdp, lambda obs, noise: obs[:, :1] * 0, scenarios)
    velocity = trajectory.next_obs[:, :, 2:]
    for dof, std in enumerate((3.0, 0.5)):
        for step in (1, horizon):
            expected = step * (std * 0.04 / 2) ** 2
            error = expected * (2 / 4000) ** 0.5
            assert velocity[step - 1, :, dof].var().item() == pytest.approx(expected, abs=4 * error)
    # Dofs, worlds and steps are independent: correlations of 4,000 samples are within 4 standard errors of zero.
    change = velocity.diff(dim=0)
    for a, b in ((velocity[0, :, 0], velocity[0, :, 1]), (change[0, :, 0], change[1, :, 0])):
        assert abs(torch.corrcoef(torch.stack([a, b]))[0, 1].item()) < 4 / 4000**0.5


def test_no_noise_on_a_dof_and_none_at_all(puck):
    mdp = puck(3)
    state, action = mdp.initial(torch.Generator()), torch.zeros(3, 1, dtype=mdp.dtype)
    mdp.set_process_noise([0.0, 1.0])
    moved = mdp.transition(state, action, torch.ones(3, 2, dtype=mdp.dtype))
    assert (moved[:, 0] == 0).all() and (moved[:, 1] > 0).all()
    mdp.set_process_noise(0.0)
    assert mdp.noise_size == 0 and torch.equal(mdp.transition(state, action), state)


def test_reward_noise_on_any_mdp():
    inner = LinearQuadratic(2000, noise_std=0.1, bound=2.0)
    mdp, horizon = diffsim.NoisyReward(inner, 0.5), 4
    assert (mdp.state_size, mdp.noise_size) == (3, 3)
    scenarios = Scenarios.draw(mdp, horizon, torch.Generator().manual_seed(0))
    noisy, worlds = rollout(mdp, LinearPolicy(), scenarios)
    plain = Scenarios(
        scenarios.initial[:, :-1],
        scenarios.resets[:, :, :-1],
        scenarios.process_noise[..., :-1],
        scenarios.action_noise,
    )
    clean, _ = rollout(inner, LinearPolicy(), plain)
    assert clean.terminated.any() and worlds.state.shape == (2000, 3)
    for name in ("obs", "action", "next_obs", "terminated"):
        assert torch.equal(getattr(noisy, name), getattr(clean, name)), name
    noise = noisy.reward - clean.reward
    torch.testing.assert_close(noise, 0.5 * scenarios.process_noise[..., -1], rtol=1e-9, atol=1e-12)
    assert noise.var().item() == pytest.approx(0.25, abs=4 * 0.25 * (2 / noise.numel()) ** 0.5)


def test_vector_environments_draw_noise_from_their_seed():
    def run(seed, **options):
        env = gymnasium.make_vec("diffsim/Hopper-v5", num_envs=3, **options)
        env.action_space.seed(0)
        arrays = [env.reset(seed=seed)[0]]
        for _ in range(5):
            arrays += env.step(env.action_space.sample())[:2]
        return arrays

    noisy = {"process_noise": 1.0, "reward_noise": 0.2}
    first, again, other, calm = run(5, **noisy), run(5, **noisy), run(6, **noisy), run(5)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert np.array_equal(first[0], calm[0])
    assert all(not np.array_equal(a, b) for a, b in zip(first[1:], calm[1:], strict=True))
    assert all(not np.array_equal(a, b) for a, b in zip(first, other, strict=True))
    obs, _ = gymnasium.make("diffsim/Hopper-v5", process_noise=1.0).reset(seed=0)
    assert obs.shape == (11,)


def test_noise_differs_between_steps():
    env = VectorEnv(diffsim.NoisyReward(LinearQuadratic(500), 1.0))
    env.reset(seed=0)
    assert not torch.equal(env._noise(), env._noise())


@pytest.mark.parametrize(
    ("noise", "error", "message"),
    [
        (-0.1, ValueError, "process_noise must be finite and >= 0, got -0.1"),
        (float("nan"), ValueError, "process_noise must be finite and >= 0, got nan"),
        ([1.0, float("inf")] * 3, ValueError, "process_noise must be finite and >= 0, got inf"),
        ([1.0] * 5, ValueError, "process_noise must be one number or nv = 6 numbers, got 5"),
        ("0.1", TypeError, "process_noise must be a number or a sequence of numbers, got '0.1'"),
        (None, TypeError, "process_noise must be a number or a sequence of numbers, got None"),
        (True, TypeError, "process_noise must be a number, got True"),
        (["a"] * 6, TypeError, "process_noise must be a number, got 'a'"),
    ],
)
def test_bad_process_noise_is_named(noise, error, message):
    with pytest.raises(error, match=message):
        diffsim.make("Hopper-v5", process_noise=noise)


@pytest.mark.parametrize("noise", [-1.0, float("nan"), float("inf")])
def test_bad_reward_noise_is_named(noise):
    with pytest.raises(ValueError, match=f"reward_noise must be finite and >= 0, got {noise}"):
        diffsim.make("Hopper-v5", reward_noise=noise)
    with pytest.raises(TypeError, match="reward_noise must be a number, got 'x'"):
        diffsim.NoisyReward(LinearQuadratic(), "x")


def test_noise_is_required_if_noise_size_is_not_0():
    mdp = diffsim.make("Reacher-v5", num_envs=2, process_noise=0.1)
    state, action = mdp.initial(torch.Generator()), torch.zeros(2, 2, dtype=mdp.dtype)
    with pytest.raises(ValueError, match=r"noise must have shape \(2, 4\), got None"):
        mdp.transition(state, action)
    with pytest.raises(ValueError, match=r"noise must have shape \(2, 4\), got \(2, 3\)"):
        mdp.transition(state, action, torch.zeros(2, 3))
    noisy = diffsim.NoisyReward(mdp, 0.1)
    with pytest.raises(ValueError, match=r"noise must have shape \(2, 5\), got None"):
        noisy.transition(noisy.initial(torch.Generator()), action)
