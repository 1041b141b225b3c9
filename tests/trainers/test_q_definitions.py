"""Updates of DQN, SAC's temperature and TD3 by their definitions, in PyTorch's own functions and by hand."""

import copy
import math

import pytest
import torch
from torch.nn.functional import huber_loss

from diffsim.policies import DeterministicMLP, DiscreteQMLP, GaussianMLP
from diffsim.trainers.experience.replay_batch import ReplayBatch
from diffsim.trainers.experience.vector_env import make_env
from diffsim.trainers.value_gradient.ddpg import DDPG
from diffsim.trainers.value_gradient.dqn import DQN
from diffsim.trainers.value_gradient.sac import SAC
from diffsim.trainers.value_gradient.td3 import TD3
from tests.trainers.q_learners import SMALL, STATE, generator, make
from tests.trainers.small_envs import Target, vector


def numbers(*shape, seed=1):
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64)


def batch_of(num, obs_size, action, reward=1.0):
    discount = torch.where(torch.arange(num) % 3 == 0, 0.0, 0.9).double()  # 0 where the episode has ended
    return ReplayBatch(
        numbers(num, obs_size), action, reward * numbers(num, seed=2), numbers(num, obs_size, seed=3), discount
    )


def moved(net, seed):
    """Moves all parameters of a network, so that it is unlike the one that it is a copy of."""
    with torch.no_grad():
        for i, parameter in enumerate(net.parameters()):
            parameter += 0.4 * numbers(*parameter.shape, seed=seed + i)


def assert_gradients(found, expected):
    for mine, theirs in zip(found.parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad)


def dqn(**options):
    """DQN with three actions."""
    shared = {name: value for name, value in SMALL.items() if name in DQN.options}
    return make(DQN, DiscreteQMLP, vector(Target, 2, discrete=True), **{**shared, **options})


def test_an_update_of_dqn():
    """y = r + discount Q'(o', argmax_u Q(o', u)); Huber's loss of Q(o, u) - y, threshold 1; then Polyak's average."""
    algorithm = dqn(target_rate=0.9)
    moved(algorithm.target_critic, 5)
    action = torch.arange(60) % 3
    batch, before = batch_of(60, 2, action, reward=2.0), copy.deepcopy(algorithm)
    algorithm.update(batch)
    rows = torch.arange(60)
    with torch.no_grad():
        chosen, values = before.q.values(batch.next_obs).argmax(-1), before.target_critic.values(batch.next_obs)
        assert (chosen != values.argmax(-1)).any(), "both networks choose the same: it would not matter which does"
        target = batch.reward + batch.discount * values[rows, chosen]
    error = before.q.values(batch.obs)[rows, action] - target
    assert (error.abs() < 1).any() and (error.abs() > 1).any(), "both branches of Huber's loss"
    huber_loss(error, torch.zeros(60).double(), delta=1.0).backward()
    assert_gradients(algorithm.q, before.q)
    for old, new, found in zip(
        *(net.parameters() for net in (before.target_critic, algorithm.q, algorithm.target_critic)), strict=True
    ):
        torch.testing.assert_close(found, 0.9 * old + 0.1 * new)


@pytest.mark.parametrize(
    ("env_steps", "rate"), [(0, 0.8), (100, 0.8), (150, 0.65), (200, 0.5), (300, 0.2), (10**6, 0.2)]
)
def test_exploration_of_dqn_falls_linearly_after_the_warm_up(env_steps, rate):
    """From 0.8 at 100 env steps to 0.2 at 300. Of random actions, a third is the greedy one."""
    algorithm = dqn(
        warmup_steps=100, exploration_env_steps=200, exploration_rate=0.8, final_exploration_rate=0.2, seed=1
    )
    algorithm.env_steps = env_steps
    assert algorithm.present_exploration_rate == pytest.approx(rate)
    obs = numbers(1, 2).expand(4000, 2)
    greedy = (algorithm.explore(obs) == algorithm.q(obs[:1])).double().mean().item()
    expected = 1 - rate * 2 / 3
    assert abs(greedy - expected) < 4 * math.sqrt(expected * (1 - expected) / 4000)


@pytest.mark.parametrize("target_entropy", [-1.0, 0.4])
def test_the_target_entropy_of_sac_is_per_dimension_of_the_action(target_entropy):
    """d/d(log alpha) of -log alpha * mean (log p + 2 target_entropy), for two dimensions; half widths are 1."""
    sac = make(SAC, GaussianMLP, vector(Target, 2), policy=STATE, **SMALL, target_entropy=target_entropy)
    batch, before = batch_of(60, 2, numbers(60, 2).clamp(-1, 1)), copy.deepcopy(sac.policy)
    start = sac.generator.get_state()
    sac.update(batch)
    sac.generator.set_state(start)
    action = before(batch.obs, sac.randn(60, 2))
    expected = -(before.log_prob(batch.obs, action).mean() + 2 * target_entropy)
    torch.testing.assert_close(sac.log_temperature.grad, expected.detach())


def test_an_update_of_td3():
    """Targets by target networks, with clipped noise; the policy by the first critic, after the critics' update."""
    td3 = make(TD3, DeterministicMLP, make_env("Pendulum-v1", 2), policy_delay=1, target_rate=0.9, **SMALL)
    moved(td3.target_critic, 5)
    moved(td3.target_policy, 20)
    batch, before = batch_of(60, 3, numbers(60, 1).clamp(-2, 2)), copy.deepcopy(td3)
    start = td3.generator.get_state()
    td3.update(batch)
    td3.generator.set_state(start)
    noise = (0.2 * td3.randn(60, 1)).clamp(-0.5, 0.5)
    with torch.no_grad():
        next_action = (before.target_policy(batch.next_obs) + 2.0 * noise).clamp(-2.0, 2.0)
        assert not torch.allclose(next_action, (before.policy(batch.next_obs) + 2.0 * noise).clamp(-2.0, 2.0))
        first, second = before.target_critic(batch.next_obs, next_action)
        target = batch.reward + batch.discount * torch.minimum(first, second)
    (before.critic(batch.obs, batch.action) - target).square().mean(1).sum().backward()
    (-td3.critic(batch.obs, before.policy(batch.obs))[0]).mean().backward(inputs=list(before.policy.parameters()))
    for net in ("critic", "policy"):
        assert_gradients(getattr(td3, net), getattr(before, net))
        nets = getattr(before, f"target_{net}"), getattr(td3, net), getattr(td3, f"target_{net}")
        for old, new, found in zip(*(x.parameters() for x in nets), strict=True):
            torch.testing.assert_close(found, 0.9 * old + 0.1 * new)


def test_exploration_noise_starts_from_zero_in_a_new_episode():
    """Episodes of copies end at different times: here only the second one's."""
    algorithm = make(
        DDPG, DeterministicMLP, make_env("Pendulum-v1", 2), exploration="ou", **{**SMALL, "warmup_steps": 0}
    )
    algorithm.act()
    collect = algorithm.collect

    def ends_in_the_second(*arguments):
        played = collect(*arguments)
        return played._replace(truncated=torch.tensor([[False, True]]))

    algorithm.collect = ends_in_the_second
    algorithm.act()
    assert algorithm.noise.last[0].item() != 0.0 and algorithm.noise.last[1].item() == 0.0


@pytest.mark.parametrize(("cls", "kind"), [(DDPG, DeterministicMLP), (TD3, DeterministicMLP), (SAC, GaussianMLP)])
def test_target_networks_normalise_by_the_present_statistics(cls, kind):
    """With equal weights, a network and its target give equal values after the statistics have changed."""
    algorithm = make(cls, kind, vector(Target, 2), policy={"normalize": True}, **SMALL)
    obs, action = 5.0 + 3.0 * numbers(20, 2), numbers(20, 2).clamp(-1, 1)
    before = algorithm.target_critic(obs, action)
    algorithm.update_normalizer(obs)
    assert torch.equal(algorithm.target_critic(obs, action), algorithm.critic(obs, action))
    assert not torch.equal(algorithm.target_critic(obs, action), before)
    if cls is not SAC:
        assert torch.equal(algorithm.target_policy(obs), algorithm.policy(obs))


def test_the_target_network_of_dqn_normalises_by_the_present_statistics():
    algorithm, obs = dqn(policy={"normalize": True}), 5.0 + 3.0 * numbers(20, 2)
    before = algorithm.target_critic.values(obs)
    algorithm.update_normalizer(obs)
    assert torch.equal(algorithm.target_critic.values(obs), algorithm.q.values(obs))
    assert not torch.equal(algorithm.q.values(obs), before)
