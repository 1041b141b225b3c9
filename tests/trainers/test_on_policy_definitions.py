"""What on-policy algorithms log and scale by: divergence, advantages, rewards and learning rates by definition."""

import copy

import pytest
import torch
from torch.distributions import Categorical, Normal, kl_divergence

from diffsim.policies import CategoricalMLP, GaussianMLP
from diffsim.trainers.likelihood_ratio.a2c import A2C
from diffsim.trainers.likelihood_ratio.a3c_worker import Learner, Shared, SharedRMSprop
from diffsim.trainers.likelihood_ratio.ppo import PPO
from diffsim.trainers.likelihood_ratio.reinforce import Reinforce
from tests.trainers.small_envs import Chain, Target, vector


def make(cls, env, **options):
    torch.manual_seed(0)
    kind = GaussianMLP if hasattr(env.single_action_space, "low") else CategoricalMLP
    policy = kind(env.single_observation_space, env.single_action_space, hidden_sizes=(8,)).double()
    algorithm = cls(env, policy, **{"value_hidden_sizes": (8,), **options})
    algorithm.warm_up_steps = 16
    return algorithm


@pytest.mark.parametrize("discrete", [False, True])
def test_the_divergence_of_ppo_is_from_the_old_policy_to_the_new_one(discrete):
    """KL(old || new) by PyTorch, as a mean over the window; in the other direction it is another number."""
    ppo = make(PPO, vector(Target, 4, discrete=discrete), horizon=16, minibatches=2, learning_rate=0.1)
    trajectory, raw = ppo.collect_window(16)
    ppo.collect_window = lambda horizon: (trajectory, raw)
    policies = [copy.deepcopy(ppo.policy)]
    ppo.update_normalizer = lambda obs: policies.append(copy.deepcopy(ppo.policy))  # it follows the last pass
    found = ppo.train_iteration()["kl"]

    def divergence(old, new):
        pairs = [[policy.raw_distribution(trajectory.obs) for policy in (old, new)]]
        if discrete:
            ((p, q),) = pairs
            both = [
                (Categorical(logits=a), Categorical(logits=b)) for a, b in zip(p.log_probs, q.log_probs, strict=True)
            ]
            return sum(kl_divergence(a, b) for a, b in both).mean().item()
        ((p, q),) = pairs
        return kl_divergence(Normal(p.mean, p.std), Normal(q.mean, q.std)).sum(-1).mean().item()

    old, new = policies
    assert found == pytest.approx(divergence(old, new), rel=1e-9)
    assert found != pytest.approx(divergence(new, old), rel=1e-2), "the direction matters here"


def test_ppo_scales_the_advantages_of_a_minibatch():
    """To mean 0 and standard deviation 1: at the old policy, the surrogate's gradient is that of A2C with them."""
    ppo = make(PPO, vector(Target, 4), value_weight=1e-12)
    trajectory, raw = ppo.collect_window(8)
    batch = ppo.advantage_batch(trajectory, raw, 0.9, 0.9).flatten()
    advantage = 3.0 + 5.0 * torch.randn(len(batch.raw), generator=torch.Generator().manual_seed(0)).double()
    parameters = list(ppo.actor.parameters())
    found = torch.autograd.grad(ppo.loss(batch._replace(advantage=advantage)), parameters)
    unit = (advantage - advantage.mean()) / advantage.var(correction=0).sqrt()
    log_prob = ppo.actor.raw_distribution(batch.obs).log_prob(batch.raw)
    for mine, expected in zip(found, torch.autograd.grad(-(unit * log_prob).mean(), parameters), strict=True):
        torch.testing.assert_close(mine, expected, rtol=1e-6, atol=1e-9)


def test_reinforce_scales_rewards_by_returns_that_start_from_zero_in_every_iteration():
    """Episodes of 3 rewards 1, gamma 0.5: the returns 1, 1.5 and 1.75, from the first step of each iteration on."""
    algorithm = make(Reinforce, vector(Chain, 2), gamma=0.5)
    seen = []
    update = algorithm.reward_normalizer.statistics.update
    algorithm.reward_normalizer.statistics.update = lambda sums: seen.append(sums[..., 0]) or update(sums)
    for _ in range(2):  # an iteration's 16 steps end within the sixth episode
        trajectory, raw = algorithm.episodes()
        algorithm.advantage_batch(trajectory, raw, 1.0, 1.0)
    expected = torch.tensor([1.0, 1.5, 1.75]).repeat(6)[:16, None].expand(16, 2).double()
    assert len(seen) == 2 and all(torch.equal(sums, expected) for sums in seen)


def test_the_learning_rate_of_a_learner_of_a3c_decays_by_the_steps_of_all_learners():
    """From 500 env steps on, a learner takes 16 in each of three windows, and all four take 64: 500, 564 and 628."""
    options = {"horizon": 4, "updates": 3, "decay_env_steps": 1000, "seed": 3}
    a2c = make(A2C, vector(Target, 4), **options)
    parameters = [*a2c.policy.parameters(), *a2c.value.parameters()]
    shared = Shared(a2c.policy, a2c.value, [torch.zeros_like(parameter) for parameter in parameters])
    learner = make(Learner, vector(Target, 4), shared=shared, learners=4, learning_rate=0.01, **options)
    report = learner.work(500)
    assert report.env_steps == 48
    assert report.metrics["learning_rate"] == pytest.approx(0.01 * (1 - 0.628))


def test_the_shared_optimizer_of_a3c_steps_by_its_present_learning_rate():
    """With alpha = 0, RMSprop moves by the learning rate against the sign of the gradient."""
    shared = torch.nn.Parameter(torch.ones(1, dtype=torch.float64))
    copied = torch.nn.Parameter(shared.detach().clone())
    optimizer = SharedRMSprop([copied], [shared], [torch.zeros(1).double()], lr=0.01, alpha=0.0, eps=1e-12)
    for rate, expected in ((0.01, 0.99), (0.003, 0.987)):
        optimizer.param_groups[0]["lr"] = rate
        optimizer.step(lambda: float((2.0 * copied).sum().backward() or 0.0))
        assert shared.item() == pytest.approx(expected) and torch.equal(copied, shared)
