"""A value function that sees what the policy does not."""

import pytest
import torch

import diffsim
from diffsim.policies import GaussianMLP, GRUPolicy
from diffsim.trainers.experience.mdp_wrappers import ShowsHidden
from diffsim.trainers.experience.rollout import rollout
from diffsim.trainers.run.arguments import RunOptions
from diffsim.wrappers import AugmentedMDP
from tests.trainers.linear import LinearQuadratic
from tests.trainers.running import assert_resumes_exactly, runner
from tests.trainers.whole_episode import make_shac

run = runner(RunOptions(task="linear", evaluate_every=100))


class HiddenBonus(AugmentedMDP):
    """Adds a number to every reward, drawn at a reset, that the policy does not observe."""

    def __init__(self, num_envs):
        super().__init__(LinearQuadratic(num_envs, max_episode_steps=8), 1)
        self.max_episode_steps = 8

    def initial(self, generator):
        state = self.mdp.initial(generator)
        return torch.cat([0 * state, torch.randn(self.num_envs, 1, generator=generator, dtype=self.dtype)], 1)

    def transition(self, state, action, noise=None):
        return torch.cat([self.mdp.transition(self.inner(state), action), self.own(state)], 1)

    def hidden(self, state):
        return self.own(state)

    def reward(self, state, action, next_state):
        return super().reward(state, action, next_state) + 3 * state[:, 2]


def policy_of(mdp, cls=GaussianMLP):
    torch.manual_seed(0)
    size = {"hidden_size": 8} if cls is GRUPolicy else {"hidden_sizes": (8,)}
    return cls(mdp.observation_space, mdp.action_space, **size).double()


@pytest.mark.parametrize("asymmetric", [False, True])
def test_value_of_a_return_that_depends_on_what_is_hidden(asymmetric, tmp_path):
    mdp = HiddenBonus(64)
    shac = make_shac(
        mdp, policy_of(mdp), horizon=8, gamma=0.5, lam=1.0, value_epochs=8, asymmetric=asymmetric, actor_ema=0.0
    )
    run(shac, tmp_path, 40)
    state = mdp.initial(torch.Generator().manual_seed(1))
    bonus = state[:, 2]
    value = shac.critic.value(shac.mdp.observation(state)).detach()
    correlation = torch.corrcoef(torch.stack([value, bonus]))[0, 1]
    assert (correlation > 0.98) == asymmetric  # G = 3 bonus / (1 - gamma), less the cost of actions


def test_the_policy_acts_on_its_own_observation():
    mdp = diffsim.make("Reacher-v5", num_envs=4, observation_noise=0.1, action_delay=2, randomize={"body_mass": (1, 2)})
    policy = policy_of(mdp)
    shac = make_shac(mdp, policy, horizon=3, asymmetric=True)
    assert isinstance(shac.mdp, ShowsHidden)
    scenarios = shac.draw(torch.Generator().manual_seed(0))
    age = torch.zeros(4, dtype=torch.int64)
    window = shac.differentiate(scenarios, age, shac.memory)
    with torch.no_grad():
        plain, _ = rollout(mdp, policy, scenarios, age=age)
    assert torch.equal(window.trajectory.action, plain.action) and torch.equal(
        shac.observed(window.trajectory), plain.obs
    )
    shown = window.trajectory.obs[..., plain.obs.shape[-1] :]
    states, noise_free = window.state.flatten(0, 1), plain.obs.shape[-1]
    without = mdp.mdp.observation(states[:, : mdp.mdp.state_size])  # pyright: ignore[reportAttributeAccessIssue]
    assert torch.equal(shown.flatten(0, 1)[:, :noise_free], without)
    waiting, factor = states[:, -noise_free - 4 : -noise_free], states[:, -noise_free - 5 : -noise_free - 4]
    assert torch.equal(shown.flatten(0, 1)[:, noise_free:], torch.cat([waiting, factor], 1))


@pytest.mark.parametrize("cls", [GaussianMLP, GRUPolicy])
def test_resuming_is_bitwise_exact(cls, tmp_path):
    def fresh():
        mdp = HiddenBonus(3)
        options = {"horizon": 5, "seed": 4, "value_epochs": 2, "asymmetric": True}
        return make_shac(mdp, policy_of(mdp, cls), **options)

    assert_resumes_exactly(run, fresh, tmp_path, "network", iterations=6)
