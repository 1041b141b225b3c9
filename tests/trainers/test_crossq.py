"""CrossQ: batch renormalisation by hand, and one update beside sb3-contrib's from equal weights and samples."""

import copy
import importlib
import math

import pytest
import torch

from diffsim.policies import GaussianMLP, RenormQMLP, batch_statistics, mlp
from diffsim.policies.batch_renorm import BatchRenorm
from diffsim.trainers.experience.replay_batch import ReplayBatch
from diffsim.trainers.experience.vector_env import make_env
from diffsim.trainers.likelihood_ratio.ppo import PPO
from diffsim.trainers.value_gradient.crossq import CrossQ
from tests.trainers.q_learners import SMALL, STATE, make

RENORM = STATE | {"batch_renorm": True}


def layer(mean, variance, warmup):
    renorm = BatchRenorm(1).double()
    renorm.warmup = warmup
    renorm.mean.fill_(mean), renorm.variance.fill_(variance)
    return renorm


def test_the_first_batches_are_normalised_by_their_own_statistics():
    """Of 1 and 3, the mean is 2 and the variance 1; the running ones go a hundredth of the way from 0 and 4."""
    renorm = layer(0.0, 4.0, 1)
    with batch_statistics(renorm):
        out = renorm(torch.tensor([[1.0], [3.0]]).double())
    torch.testing.assert_close(out.flatten().tolist(), [-1 / math.sqrt(1.001), 1 / math.sqrt(1.001)])
    torch.testing.assert_close([renorm.mean.item(), renorm.variance.item()], [0.02, 4.0 - 0.03])
    assert renorm.batches.item() == 1


def test_after_the_warm_up_values_within_the_bounds_are_those_of_running_statistics():
    """r and d undo the batch's statistics: y = (x - mean) / std."""
    renorm = layer(0.5, 4.0, 0)
    x = torch.tensor([[1.0], [3.0]]).double()
    expected = renorm(x)
    torch.testing.assert_close(expected, (x - 0.5) / math.sqrt(4.001))
    with batch_statistics(renorm):
        torch.testing.assert_close(renorm(x), expected)


def test_after_the_warm_up_the_corrections_are_clipped():
    """std_B / std = 10 is clipped to 3, and (mean_B - mean) / std = 100 to 5: y = +-3 + 5."""
    renorm = layer(0.0, 1.0, 0)
    with batch_statistics(renorm):
        out = renorm(torch.tensor([[90.0], [110.0]]).double()).flatten().tolist()
    torch.testing.assert_close(out, [2.0, 8.0], atol=1e-3, rtol=0)


def test_the_gradient_of_batch_statistics_is_that_of_batch_norm():
    """In the warm-up, against torch's batch_norm."""
    torch.manual_seed(0)
    x = torch.randn(7, 3).double().requires_grad_()
    renorm, weight = BatchRenorm(3).double(), torch.randn(7, 3).double()
    with batch_statistics(renorm):
        out = renorm(x)
    expected = torch.nn.functional.batch_norm(x, None, None, training=True, eps=1e-3)
    torch.testing.assert_close(out, expected)
    mine, theirs = (torch.autograd.grad((each * weight).sum(), x)[0] for each in (out, expected))
    torch.testing.assert_close(mine, theirs)


def test_statistics_change_only_where_batches_are_used():
    """Not by acting, whatever `train()` says; and not after an error inside."""
    network = mlp(3, (4,), 2, batch_renorm=True).train()
    before = copy.deepcopy(network.state_dict())
    x = torch.randn(5, 3)
    network(x)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    with pytest.raises(RuntimeError), batch_statistics(network):
        network(torch.randn(5, 2))
    assert not any(getattr(module, "by_batch", False) for module in network.modules())
    with batch_statistics(network):
        network(x)
    assert not torch.equal(network.state_dict()["0.mean"], before["0.mean"])


def test_each_critic_has_its_own_statistics():
    """They are those of the joint batch, in every layer."""
    torch.manual_seed(0)
    env = make_env("Pendulum-v1", 1)
    critic = RenormQMLP(3, env.single_action_space, count=2, hidden_sizes=(4, 4)).double()
    obs, action = torch.randn(6, 3).double(), torch.rand(6, 1).double()
    with batch_statistics(critic):
        critic(obs, action)
    first, second, third = critic.renorms
    torch.testing.assert_close(first.mean[1, 0, :3], 0.01 * obs.mean(0))
    assert [renorm.mean.shape for renorm in critic.renorms] == [(2, 1, 4)] * 3
    assert not torch.equal(second.mean[0], second.mean[1]) and not torch.equal(third.mean[0], third.mean[1])
    torch.testing.assert_close(critic.first(obs, action), critic(obs, action)[0])


def test_the_policy_is_updated_in_every_third_update():
    crossq = make(CrossQ, GaussianMLP, make_env("Pendulum-v1", 2, seed=1), 1, RENORM, **SMALL)
    crossq.iterate()
    while crossq.updates % 3:
        crossq.updates += 1
    for due in (False, False, True):
        crossq.updates += 1
        before = [copy.deepcopy(net.state_dict()) for net in (crossq.policy, crossq.critic)]
        metrics = crossq.update(crossq.batch())
        moved = [
            any(not torch.equal(value, old[name]) for name, value in net.state_dict().items())
            for net, old in zip((crossq.policy, crossq.critic), before, strict=True)
        ]
        assert moved == [due, True] and ("entropy" in metrics) == due


def test_other_algorithms_refuse_batch_renormalisation():
    env = make_env("Pendulum-v1", 2)
    with pytest.raises(ValueError, match="batch_renorm must be False for PPO: only CrossQ updates its statistics"):
        make(PPO, GaussianMLP, env, 0, {"batch_renorm": True})


def pairs(crossq, actor, critic):
    """Pairs of our tensors and theirs: weights, gains, shifts and running statistics."""
    found = []

    def renorm(mine, theirs, k=None):
        for name, other in (("gain", "scale"), ("shift", "bias"), ("mean", "ra_mean"), ("variance", "ra_var")):
            own = getattr(mine, name)
            found.append((own if k is None else own[k, 0], getattr(theirs, other)))

    network = crossq.actor.network
    for k in range(0, 7, 3):
        renorm(network[k], actor.latent_pi[k])
    for k in (1, 4):
        found.extend([(network[k].weight, actor.latent_pi[k].weight), (network[k].bias, actor.latent_pi[k].bias)])
    for half, head in zip(range(2), (actor.mu, actor.log_std), strict=True):
        found.append((network[7].weight[3 * half : 3 * half + 3], head.weight))
        found.append((network[7].bias[3 * half : 3 * half + 3], head.bias))
    for k, net in enumerate(critic.q_networks):
        for index in range(3):
            renorm(crossq.critic.renorms[index], net[3 * index], k)
            found.append((crossq.critic.weights[index][k], net[3 * index + 1].weight.mT))
            found.append((crossq.critic.biases[index][k, 0], net[3 * index + 1].bias))
    return found


def test_updates_equal_those_of_sb3_contrib(monkeypatch):
    """Three updates, the third with the policy's, in float64 from the same weights, samples and noise.

    Variances divide by B in ours, as in the paper and the authors' code, and are made so in theirs, which divide by
    B - 1. They add 1e-6 in the density's logarithm, here 0. Adam's epsilon is 1: it would make whole steps of rounding
    errors, where a unit is always active and the next layer's normalisation removes its bias.
    """
    contrib = pytest.importorskip("sb3_contrib", reason="needs the test extra")
    logger = importlib.import_module("stable_baselines3.common.logger")
    buffers = importlib.import_module("stable_baselines3.common.buffers")
    torch.manual_seed(0)
    settings = {"net_arch": {"pi": [16, 16], "qf": [16, 16]}}
    agent = contrib.CrossQ("MlpPolicy", "Hopper-v5", seed=0, device="cpu", policy_kwargs=settings, buffer_size=1000)
    agent.policy.double()
    agent.log_ent_coef.data = agent.log_ent_coef.data.double()
    env = make_env("Hopper-v5", 1)
    options = {**SMALL, "critic_hidden_sizes": (16, 16), "batch_size": 256}
    policy = {**RENORM, "hidden_sizes": (16, 16), "activation": "relu", "initial_std": 1.0}
    crossq = make(CrossQ, GaussianMLP, env, 0, policy, **options)
    with torch.no_grad():
        for mine, theirs in pairs(crossq, agent.actor, agent.critic):
            mine.copy_(theirs)

    agent.set_logger(logger.configure(format_strings=[]))
    samples = [
        (
            torch.randn(256, 11),
            torch.rand(256, 3) * 2 - 1,
            torch.randn(256),
            torch.randn(256, 11),
            torch.rand(256) < 0.1,
        )
        for _ in range(3)
    ]
    noises = [torch.randn(256, 3).double() for _ in range(4)]  # the last is of the policy's update
    theirs, ours = [], []
    for obs, action, reward, next_obs, ended in samples:
        obs, action, reward, next_obs, ended = (part.double() for part in (obs, action, reward, next_obs, ended))
        columns = ended[:, None], reward[:, None]
        theirs.append(buffers.ReplayBufferSamples(obs, action, next_obs, *columns))
        ours.append(ReplayBatch(obs, action, reward, next_obs, 0.99 * (1.0 - ended)))
    start = [mine.clone() for mine, _ in pairs(crossq, agent.actor, agent.critic)]

    for optimizer in (*crossq.optimizers[:2], agent.actor.optimizer, agent.critic.optimizer):
        optimizer.param_groups[0]["eps"] = 1.0
    agent.actor.action_dist.epsilon = 0.0
    variance = torch.Tensor.var
    monkeypatch.setattr(torch.Tensor, "var", lambda x, dim: variance(x, dim=dim, correction=0))
    drawn, left = iter(noises), iter(theirs)
    monkeypatch.setattr("torch.distributions.normal._standard_normal", lambda *_, **__: next(drawn))
    agent.replay_buffer.sample = lambda *_, **__: next(left)
    agent.train(3, 256)
    for k, batch in enumerate(ours):
        crossq.learn(crossq.optimizer_steps(), batch, noises[3], noises[k], k == 2)

    for (mine, their), before in zip(pairs(crossq, agent.actor, agent.critic), start, strict=True):
        assert (mine - their).norm() < 0.002 * (their - before).norm()
    torch.testing.assert_close(crossq.log_temperature.item(), agent.log_ent_coef.item())
