"""Roll-outs: gradients, resets, ends of episodes and ages; and `collect` for vector environments."""

from dataclasses import replace

import gymnasium
import pytest
import torch
from gymnasium.vector import AutoresetMode

from diffsim.mdp import Scenarios
from diffsim.policies import DeterministicMLP
from diffsim.trainers.errors import NonFiniteError
from diffsim.trainers.experience.rollout import collect, rollout
from diffsim.trainers.pathwise.window import explain_nonfinite
from tests.trainers.linear import LinearPolicy, LinearQuadratic, NoisyLinearPolicy
from tests.trainers.small_envs import Counter


def draw(mdp, horizon, seed=0, **kwargs):
    return Scenarios.draw(mdp, horizon, torch.Generator().manual_seed(seed), **kwargs)


def test_shapes_and_consistency():
    mdp = LinearQuadratic(noise_std=0.1)
    scenarios = draw(mdp, 6, action_noise_size=1)
    trajectory, worlds = rollout(mdp, NoisyLinearPolicy(), scenarios)
    assert [tuple(x.shape) for x in trajectory] == [(6, 3, 2), (6, 3, 1), (6, 3), (6, 3, 2), (6, 3), (6, 3)]
    assert torch.equal(trajectory.obs[1:], trajectory.next_obs[:-1])
    assert torch.equal(worlds.state, trajectory.next_obs[-1].detach()) and not worlds.state.requires_grad
    assert worlds.age.tolist() == [6, 6, 6]


def test_gradient_equals_the_closed_form():
    mdp, policy = LinearQuadratic(), LinearPolicy()
    scenarios = draw(mdp, 12)
    trajectory, _ = rollout(mdp, policy, scenarios)
    (gradient,) = torch.autograd.grad(trajectory.reward.sum(0).mean(), policy.K)
    expected = mdp.gain_gradient(policy.K.detach(), scenarios.initial, 12)
    torch.testing.assert_close(gradient, expected, rtol=1e-12, atol=0)


def test_gradient_through_noise_equals_finite_differences():
    mdp = LinearQuadratic(noise_std=0.2, bound=1.5)
    scenarios = draw(mdp, 8, action_noise_size=1)

    def value(K):
        policy = NoisyLinearPolicy()
        policy.K = torch.nn.Parameter(K)
        return policy, rollout(mdp, policy, scenarios)[0]

    K = torch.tensor([[-1.0, -1.5]], dtype=torch.float64)
    policy, trajectory = value(K)
    assert trajectory.terminated.any(), "the test needs resets"
    (gradient,) = torch.autograd.grad(trajectory.reward.sum(), policy.K)
    for i in range(2):
        step = torch.zeros_like(K)
        step[0, i] = 1e-6
        ahead, behind = value(K + step)[1], value(K - step)[1]
        assert torch.equal(ahead.terminated, behind.terminated)
        difference = (ahead.reward.sum() - behind.reward.sum()).item() / 2e-6
        assert gradient[0, i].item() == pytest.approx(difference, rel=1e-7)


def test_no_gradient_crosses_a_reset():
    mdp, policy = LinearQuadratic(1, bound=1.0), LinearPolicy((0.0, 0.0))
    initial = torch.tensor([[0.99, 1.0]], dtype=torch.float64, requires_grad=True)
    scenarios = replace(draw(mdp, 5), initial=initial, resets=torch.zeros(1, 1, 2, dtype=torch.float64))
    trajectory, _ = rollout(mdp, policy, scenarios)
    assert trajectory.terminated[:, 0].tolist() == [True, False, False, False, False]
    before, after = trajectory.reward[0].sum(), trajectory.reward[1:].sum()
    assert torch.autograd.grad(after, initial, retain_graph=True)[0].abs().max() == 0
    assert torch.autograd.grad(before, initial)[0].abs().max() > 0


def test_ended_copies_restart_from_their_reset_states_in_order():
    mdp, policy = LinearQuadratic(2, bound=1.0), LinearPolicy((0.0, 0.0))
    inside, outside = torch.tensor([[0.0, 0.0]]), torch.tensor([[5.0, 0.0]])
    resets = torch.stack([torch.cat([outside, inside]), torch.cat([inside + 0.5, inside])]).double()
    scenarios = replace(draw(mdp, 4), initial=torch.cat([outside, inside]).double(), resets=resets)
    trajectory, worlds = rollout(mdp, policy, scenarios)
    # Copy 0 ends, restarts outside (first reset state), ends again, and restarts inside (second reset state).
    assert trajectory.terminated[:, 0].tolist() == [True, True, False, False]
    assert torch.equal(trajectory.obs[1, 0], resets[0, 0]) and torch.equal(trajectory.obs[2, 0], resets[1, 0])
    # next_obs is the observation before the reset.
    torch.testing.assert_close(trajectory.next_obs[0, 0], mdp.A @ scenarios.initial[0])
    assert not trajectory.terminated[:, 1].any() and worlds.age.tolist() == [2, 4]


def test_time_outs_are_not_terminations_and_ages_continue():
    mdp, policy = LinearQuadratic(2, max_episode_steps=5), LinearPolicy()
    trajectory, worlds = rollout(mdp, policy, draw(mdp, 4), age=torch.tensor([0, 3]))
    assert trajectory.truncated.int().T.tolist() == [[0, 0, 0, 0], [0, 1, 0, 0]]
    assert not trajectory.terminated.any() and worlds.age.tolist() == [4, 2]
    shorter, _ = rollout(mdp, policy, draw(mdp, 4), max_age=2)
    assert shorter.truncated.int().T.tolist() == [[0, 1, 0, 1], [0, 1, 0, 1]]


def test_a_policy_is_told_whose_episodes_ended():
    class Told(DeterministicMLP):
        def reset(self, ended=None):
            told.append(ended.tolist())

    told, mdp = [], LinearQuadratic(2, max_episode_steps=5)
    policy = Told(mdp.observation_space, mdp.action_space, hidden_sizes=(4,)).double()
    rollout(mdp, policy, draw(mdp, 4), age=torch.tensor([0, 3]), max_age=3)
    assert told == [[False, True], [True, False], [False, True]]


def test_termination_on_the_last_step_is_also_a_truncation():
    mdp = LinearQuadratic(1, bound=0.0, max_episode_steps=1)
    trajectory, _ = rollout(mdp, LinearPolicy(), draw(mdp, 1))
    assert trajectory.terminated.all() and trajectory.truncated.all()


def test_same_scenarios_give_bitwise_equal_results_and_others_do_not():
    mdp = LinearQuadratic(noise_std=0.1, bound=1.0)
    first, second, other = (rollout(mdp, LinearPolicy(), draw(mdp, 9, seed))[0] for seed in (1, 1, 2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert not torch.equal(first.reward, other.reward)


def test_permuting_worlds_permutes_the_result():
    mdp, order = LinearQuadratic(4, bound=1.0, noise_std=0.1), torch.tensor([2, 0, 3, 1])
    scenarios = draw(mdp, 9)
    permuted = Scenarios(
        scenarios.initial[order],
        scenarios.resets[:, order],
        scenarios.process_noise[:, order],
        scenarios.action_noise[:, order],
    )
    one, two = (rollout(mdp, LinearPolicy(), s)[0] for s in (scenarios, permuted))
    assert one.ended.any()
    for a, b in zip(one, two, strict=True):
        torch.testing.assert_close(a[:, order], b, rtol=1e-12, atol=0)


def test_errors_name_argument_rule_and_value():
    mdp = LinearQuadratic(3)
    with pytest.raises(ValueError, match="max_age must be >= 1, got 0"):
        rollout(mdp, LinearPolicy(), draw(mdp, 2), max_age=0)
    with pytest.raises(ValueError, match=r"= \[3, 2\], got \[4, 2\]"):
        rollout(mdp, LinearPolicy(), draw(LinearQuadratic(4), 2))
    with pytest.raises(ValueError, match="horizon must be >= 1, got 0"):
        draw(mdp, 0)
    with pytest.raises(ValueError, match="num_resets must be >= 1, got 0"):
        draw(mdp, 1, num_resets=0)
    with pytest.raises(ValueError, match="action_noise_size must be >= 0, got -1"):
        draw(mdp, 1, action_noise_size=-1)


class Poisoned(LinearQuadratic):
    """Dynamics with an infinite derivative at one time step in one world."""

    def transition(self, state, action, noise=None):
        if not state.isfinite().all():
            raise ValueError("state must be finite")
        self.calls = getattr(self, "calls", 0) + 1
        poison = torch.zeros(self.num_envs, 1, dtype=self.dtype)
        if self.calls % 5 == 3:  # time step 2 of a window of 5
            poison[1] = torch.sqrt(action[1] * 0.0)  # 0, with derivative inf * 0 = nan
        return super().transition(state, action) + poison


def test_nonfinite_gradient_is_traced_to_world_and_step():
    mdp, policy = Poisoned(3), LinearPolicy()
    message = explain_nonfinite(mdp, policy, draw(mdp, 5), lambda trajectory: trajectory.reward.sum())
    assert message.startswith("the gradient of action[0] is nan in world 1 at time step 2 of the window")


def test_nonfinite_reward_is_traced_to_world_and_step():
    class Log(LinearQuadratic):
        def reward(self, state, action, next_state):
            return torch.where(torch.arange(3) == 2, torch.log(state[:, 0] * 0 - 1), state[:, 0])

    mdp = Log(3)
    message = explain_nonfinite(mdp, LinearPolicy(), draw(mdp, 5), lambda trajectory: trajectory.reward.sum())
    assert message == "reward is nan in world 2 at time step 0 of the window"


def test_error_of_a_nonfinite_state_names_the_time_step():
    mdp = Poisoned(3)
    with pytest.raises(NonFiniteError, match="at time step 1 of the window, state must be finite"):
        rollout(mdp, LinearPolicy((float("inf"), 0.0)), draw(mdp, 5))


def test_error_of_divergence_names_the_time_step():
    class Diverging(LinearQuadratic):
        def transition(self, state, action, noise=None):
            raise FloatingPointError("physics diverged: qpos is not finite in world 2")

    with pytest.raises(NonFiniteError, match="at time step 0 of the window, physics diverged: .* in world 2"):
        rollout(Diverging(3), LinearPolicy(), draw(Diverging(3), 5))


def test_other_errors_are_not_changed():
    class Strict(LinearQuadratic):
        def transition(self, state, action, noise=None):
            raise ValueError("state must be something else")

    with pytest.raises(ValueError, match="^state must be something else$"):
        rollout(Strict(3), LinearPolicy(), draw(Strict(3), 5))


def vector(mode):
    makers = [lambda: Counter(2), lambda: Counter(100)]
    return gymnasium.vector.SyncVectorEnv(makers, autoreset_mode=mode)


@pytest.mark.parametrize("mode", AutoresetMode)
def test_collect_returns_the_transitions_of_the_environments(mode):
    env = vector(mode)
    obs, _ = env.reset()
    trajectory, obs = collect(env, lambda obs, noise: noise, obs, torch.full((3, 2, 1), 0.5))
    assert trajectory.obs[:, 0].tolist() == [[0, 0], [0, 1], [1, 0]]
    assert trajectory.next_obs[:, 0].tolist() == [[0, 1], [0, 2], [1, 1]]
    assert trajectory.terminated[:, 0].tolist() == [False, True, False] and not trajectory.truncated.any()
    assert trajectory.obs[:, 1].tolist() == [[0, 0], [0, 1], [0, 2]]
    assert trajectory.reward.tolist() == [[0.5, 0.5]] * 3 and trajectory.obs.dtype == torch.float32
    following, _ = collect(env, lambda obs, noise: noise, obs, torch.zeros(1, 2, 1))
    assert following.obs[0].tolist() == [[1, 1], [0, 3]]


def test_collect_rejects_next_step_autoreset_where_copies_cannot_be_reset_apart():
    env = gymnasium.vector.VectorWrapper(vector(AutoresetMode.NEXT_STEP))
    with pytest.raises(ValueError, match="must be DISABLED, got AutoresetMode.NEXT_STEP of VectorWrapper, whose"):
        collect(env, lambda obs, noise: noise, None, torch.zeros(1, 2, 1))
