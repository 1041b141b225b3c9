"""The algorithms that learn Q: updates against their definitions, exact resuming, and errors."""

import copy
import math
import signal
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box

from diffsim.policies import DeterministicMLP, GaussianMLP
from diffsim.trainers.experience.episode_index import StepIndex
from diffsim.trainers.experience.replay_batch import ReplayBatch
from diffsim.trainers.experience.rollout import Trajectory
from diffsim.trainers.experience.vector_env import make_env
from diffsim.trainers.run.checkpoint import read_checkpoint
from diffsim.trainers.run.run_folder import RunFolder
from diffsim.trainers.value_gradient.crossq import CrossQ
from diffsim.trainers.value_gradient.ddpg import DDPG
from diffsim.trainers.value_gradient.dpg import DPG
from diffsim.trainers.value_gradient.sac import SAC
from diffsim.trainers.value_gradient.svg0 import SVG0
from diffsim.trainers.value_gradient.td3 import TD3
from tests import processes
from tests.trainers.q_learners import SMALL, STATE, make, run, small_sac
from tests.trainers.running import assert_resumes_exactly
from tests.trainers.small_envs import Target, vector

ROOT = Path(__file__).parents[2]
CASES = {
    "DPG": (DPG, DeterministicMLP, {}, SMALL | {"updates_per_step": 1.0}),
    "on_policy": (DPG, DeterministicMLP, {}, SMALL | {"data": "on_policy"}),
    "DDPG": (DDPG, DeterministicMLP, {"normalize": False}, SMALL | {"num_steps": 3}),
    "SVG0": (SVG0, GaussianMLP, {}, {"horizon": 5, "critic_hidden_sizes": (8,)}),
    "TD3": (TD3, DeterministicMLP, {}, SMALL | {"updates_per_step": 0.4, "exploration": "ou"}),
    "SAC": (SAC, GaussianMLP, STATE, SMALL | {"updates_per_step": 2.0, "decay_env_steps": (12, 60)}),
    "CrossQ": (CrossQ, GaussianMLP, STATE | {"batch_renorm": True}, SMALL | {"updates_per_step": 1.0}),
}


@pytest.mark.parametrize(("name", "task"), [*((name, "Pendulum-v1") for name in CASES), ("SAC", "diffsim/Hopper-v5")])
def test_resuming_is_exact(tmp_path, name, task):
    cls, kind, policy, options = CASES[name]

    def fresh():
        return make(cls, kind, make_env(task, 2, seed=1), 1, policy, **options)

    assert_resumes_exactly(run, fresh, tmp_path, "weight")


CHILD = """
import os, signal, sys
from pathlib import Path
from tests import processes
from tests.trainers.q_learners import run, small_sac
from diffsim.trainers.experience.row_log import RowLog
from diffsim.trainers.run.run_folder import os as run_folder_os
from tests import processes

place, path = sys.argv[1:]
plain, calls = (RowLog.write, run_folder_os.replace)[place == "checkpoint"], []

def die(*arguments):
    if place == "checkpoint" and Path(arguments[1]).suffix != ".ckpt":
        return plain(*arguments)
    calls.append(arguments)
    if len(calls) < 2:
        return plain(*arguments)
    if place == "log":
        log, first, rows = arguments
        plain(log, first, rows[: len(rows) // 2])
    os.kill(os.getpid(), signal.SIGKILL)

if place == "log":
    RowLog.write = die
else:
    run_folder_os.replace = die
run(small_sac(), Path(path), 6)
"""


@pytest.mark.parametrize("place", ["log", "checkpoint"])
def test_a_run_killed_while_it_saves_resumes_from_the_previous_checkpoint(tmp_path, place):
    """SIGKILL in the second save, after iteration 4, with half of the replay buffer's new rows written, or all."""
    child = processes.run("-c", CHILD, place, tmp_path / "parts", cwd=ROOT)
    assert child.returncode == -signal.SIGKILL, child.stderr[-2000:]
    folder = RunFolder(tmp_path / "parts")
    assert read_checkpoint(folder.checkpoint)["diffsim"]["iteration"] == 2 and len(folder.read_metrics()) == 4
    parts, whole = run(small_sac(), folder.path, 6, resume=True), run(small_sac(), tmp_path / "whole", 6)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, parts.state_dict()[name]), name
    assert torch.equal(whole.replay.rows, parts.replay.rows) and whole.replay.count > whole.replay.length


def batch_of(num, generator, discount=0.9):
    def numbers(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    action = numbers(num, 1).clamp(-2, 2)
    return ReplayBatch(numbers(num, 3), action, numbers(num), numbers(num, 3), torch.full((num,), discount).double())


def small(cls, kind, policy=None, **options):
    """The algorithm on Pendulum-v1, whose actions are in [-2, 2]."""
    return make(cls, kind, make_env("Pendulum-v1", 2), 0, policy, **{**SMALL, **options})


def test_targets_of_sac():
    """y = r + discount (min_k Q_k' - alpha log p): the density by `log_prob`, in units of the half width 2."""
    sac = small(SAC, GaussianMLP, STATE)
    batch, temperature = batch_of(60, torch.Generator().manual_seed(1)), torch.tensor(0.3).double()
    with torch.no_grad():  # so that each critic is the lower one for about half of the batch
        first, second = sac.target_critic(batch.next_obs, batch.action)
        sac.target_critic.biases[-1][0] += (second - first).median()
    noise = sac.randn(60, 1)
    found = sac.target(batch, noise, temperature)
    with torch.no_grad():
        action = sac.policy(batch.next_obs, noise)
        log_prob = sac.policy.log_prob(batch.next_obs, action) + math.log(2.0)
        lower = torch.minimum(*sac.target_critic(batch.next_obs, action))
        first, second = sac.target_critic(batch.next_obs, action)
    assert (first < second).any() and (first > second).any(), "each of them is the lower one somewhere"
    torch.testing.assert_close(found, batch.reward + 0.9 * (lower - 0.3 * log_prob))
    ended = sac.target(batch._replace(discount=torch.zeros(60).double()), noise, temperature)
    assert torch.equal(ended, batch.reward)


@pytest.mark.parametrize(("target_entropy", "falls"), [(-5.0, True), (5.0, False)])
def test_sac_reduces_the_temperature_if_the_entropy_is_above_its_target(target_entropy, falls):
    sac = small(SAC, GaussianMLP, STATE, target_entropy=target_entropy)
    before = sac.log_temperature.item()
    sac.update(batch_of(6, torch.Generator().manual_seed(1)))
    assert (sac.log_temperature.item() < before) == falls
    fixed = small(SAC, GaussianMLP, STATE, learn_temperature=False, temperature=0.2)
    fixed.update(batch_of(6, torch.Generator().manual_seed(1)))
    assert fixed.log_temperature.exp().item() == pytest.approx(0.2)


def test_an_update_of_sac_changes_the_right_parameters():
    """Policy, critics, temperature and target critics."""
    sac = small(SAC, GaussianMLP, STATE, target_rate=0.9)
    before = {name: value.clone() for name, value in sac.state_dict().items()}
    metrics = sac.update(batch_of(6, torch.Generator().manual_seed(1)))
    after = sac.state_dict()
    for name in ("policy.network.0.weight", "critic.weights.0", "log_temperature"):
        assert not torch.equal(before[name], after[name]), name
    target = 0.9 * before["target_critic.weights.0"] + 0.1 * after["critic.weights.0"]
    torch.testing.assert_close(after["target_critic.weights.0"], target)
    assert {"critic_loss", "value", "entropy", "temperature"} == metrics.keys()


def test_gradient_of_sacs_actor():
    """It is that of mean (min_k Q_k(o, u) - alpha log p(u | o)), with the density by `log_prob`."""
    sac = small(SAC, GaussianMLP, STATE, temperature=0.7)
    batch, before, state = batch_of(60, torch.Generator().manual_seed(1)), copy.deepcopy(sac.policy), sac.generator
    with torch.no_grad():
        first, second = sac.critic(batch.obs, batch.action)
        sac.critic.biases[-1][0] += (second - first).median()
    start = state.get_state()
    sac.update(batch)
    state.set_state(start)
    action = before(batch.obs, sac.randn(60, 1))
    first, second = sac.critic(batch.obs, action)  # the critics are updated before the actor
    assert (first < second).any() and (first > second).any(), "each of them is the lower one somewhere"
    log_prob = before.log_prob(batch.obs, action) + math.log(2.0)
    (0.7 * log_prob - torch.minimum(first, second)).mean().backward()
    for expected, found in zip(before.parameters(), sac.policy.parameters(), strict=True):
        torch.testing.assert_close(found.grad, expected.grad)


@pytest.mark.parametrize("target_range", [None, (-0.5, 0.25)])
def test_an_update_of_ddpg(target_range):
    """Critic: (Q - r - discount Q'(o', mu'(o')))^2, by the target networks; actor: Q(o, mu(o)) with the new Q."""
    ddpg = small(DDPG, DeterministicMLP, target_rate=0.9, target_range=target_range)
    with torch.no_grad():
        for parameter in (*ddpg.target_critic.parameters(), *ddpg.target_policy.parameters()):
            parameter += 0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(2)).double()
    batch, before = batch_of(60, torch.Generator().manual_seed(1)), copy.deepcopy(ddpg)
    ddpg.update(batch)
    target = batch.reward + 0.9 * before.target_critic(batch.next_obs, before.target_policy(batch.next_obs))[0]
    if target_range is not None:
        assert (target < -0.5).any() and (target > 0.25).any(), "both bounds must clip something"
        target = target.clamp(*target_range)
    (before.critic(batch.obs, batch.action)[0] - target.detach()).square().mean().backward()
    (-ddpg.critic(batch.obs, before.policy(batch.obs))[0]).mean().backward(inputs=list(before.policy.parameters()))
    for net in ("critic", "policy"):
        for expected, found in zip(getattr(before, net).parameters(), getattr(ddpg, net).parameters(), strict=True):
            torch.testing.assert_close(found.grad, expected.grad)
        targets = zip(*(getattr(x, y).parameters() for x, y in ((before, f"target_{net}"), (ddpg, net))), strict=True)
        for (old, new), found in zip(targets, getattr(ddpg, f"target_{net}").parameters(), strict=True):
            torch.testing.assert_close(found, 0.9 * old + 0.1 * new)


def test_an_update_of_dpg():
    """Critic: (Q - r - discount Q(o', mu(o')))^2, discount 0 where o' is terminal; actor: Q(o, mu(o)) with new Q."""
    dpg = small(DPG, DeterministicMLP)
    batch, before = batch_of(60, torch.Generator().manual_seed(1)), copy.deepcopy(dpg)
    batch = batch._replace(discount=torch.where(torch.arange(60) % 3 == 0, 0.0, batch.discount))
    dpg.update(batch)
    target = batch.reward + batch.discount * before.critic(batch.next_obs, before.policy(batch.next_obs))[0]
    (before.critic(batch.obs, batch.action)[0] - target.detach()).square().mean().backward()
    (-dpg.critic(batch.obs, before.policy(batch.obs))[0]).mean().backward(inputs=list(before.policy.parameters()))
    for net in ("critic", "policy"):
        for expected, found in zip(getattr(before, net).parameters(), getattr(dpg, net).parameters(), strict=True):
            torch.testing.assert_close(found.grad, expected.grad)


@pytest.mark.parametrize("normalize_reward", [False, True])
def test_targets_of_svg0(normalize_reward):
    """G_t = r_t + gamma ((1 - lam) Q(o', pi(o', z')) + lam G_{t+1}), with fresh z', and 0 after a terminal o'."""
    options = {"horizon": 4, "gamma": 0.9, "lam": 0.6, "normalize_reward": normalize_reward}
    svg0 = make(SVG0, GaussianMLP, make_env("Pendulum-v1", 2), **options)
    random = torch.Generator().manual_seed(3)

    def numbers(*shape):
        return torch.randn(*shape, generator=random, dtype=torch.float64)

    terminated, truncated = torch.zeros(2, 4, 2, dtype=torch.bool)
    terminated[1, 0], truncated[2, 1] = True, True
    played = Trajectory(numbers(4, 2, 3), numbers(4, 2, 1), numbers(4, 2), numbers(4, 2, 3), terminated, truncated)
    svg0.collect = lambda actor, noise: played
    start = svg0.generator.get_state()
    window = svg0.next_window()
    svg0.generator.set_state(start)
    noise, fresh = svg0.randn(4, 2, 1), svg0.randn(4, 2, 1)
    with torch.no_grad():
        value = svg0.critic(played.next_obs, svg0.policy(played.next_obs, fresh))[0]
    assert not torch.allclose(svg0.policy(played.next_obs, fresh), svg0.policy(played.next_obs, noise))
    reward, sums = played.reward, [torch.zeros(2).double()]
    if normalize_reward:  # divided by the standard deviation of R_t = r_t + gamma R_{t-1}, which restarts after an end
        for t in range(4):
            sums.append(reward[t] + 0.9 * torch.where(played.ended[t - 1] & (t > 0), 0.0, sums[-1]))
        reward = reward / (torch.stack(sums[1:]).var(correction=0) + svg0.reward_normalizer.statistics.epsilon).sqrt()
    expected = torch.zeros(4, 2).double()
    for n in range(2):
        for t in (3, 2, 1, 0):
            after = 0.0 if terminated[t, n] else value[t, n]
            further = after if t == 3 or (terminated | truncated)[t, n] else expected[t + 1, n]
            expected[t, n] = reward[t, n] + 0.9 * (0.4 * after + 0.6 * further)
    torch.testing.assert_close(window.returns, expected.flatten())
    assert torch.equal(window.noise, noise.flatten(0, 1))


def test_svg0_updates_the_actor_after_the_critic():
    """All updates of the actor use the critic after its last update in the window."""
    svg0 = make(SVG0, GaussianMLP, make_env("Pendulum-v1", 2), horizon=4, epochs=3, minibatches=2)
    before, seen, loss = svg0.critic.weights[0].clone(), [], svg0.actor_loss
    svg0.actor_loss = lambda obs, noise: seen.append(svg0.critic.weights[0].clone()) or loss(obs, noise)
    svg0.iterate()
    assert len(seen) == 3 * 2 and not torch.equal(seen[0], before)
    assert all(torch.equal(weight, svg0.critic.weights[0]) for weight in seen)


def test_targets_and_delayed_updates_of_td3():
    """Without noise y = r + discount min_k Q_k'(o', mu'(o')); the noise, and the action in [-2, 2], are clipped."""
    td3 = small(TD3, DeterministicMLP, target_noise=0.0, policy_delay=2)
    batch, noise = batch_of(6, torch.Generator().manual_seed(1)), td3.randn(6, 1)
    with torch.no_grad():
        lower = torch.minimum(*td3.target_critic(batch.next_obs, td3.target_policy(batch.next_obs)))
    torch.testing.assert_close(td3.target(batch, noise), batch.reward + 0.9 * lower)
    td3.target_noise, td3.target_noise_clip, seen = 100.0, 0.5, []
    td3.target_critic.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[1]))
    td3.target(batch, noise)
    middle = td3.target_policy(batch.next_obs)
    expected = [(middle + 2.0 * 0.5 * sign).clamp(-2.0, 2.0) for sign in (-1, 1)]
    assert all(torch.isclose(seen[0], bound).any() for bound in expected)
    assert (torch.isclose(seen[0], expected[0]) | torch.isclose(seen[0], expected[1])).all()
    weights = [td3.policy.network[0].weight.clone()]
    for td3.updates in (1, 2):
        td3.update(batch)
        weights.append(td3.policy.network[0].weight.clone())
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[1], weights[2])


def test_only_the_critics_weights_decay():
    for value in (0.0, 0.3):
        policy, critic = small(DDPG, DeterministicMLP, critic_weight_decay=value).optimizers
        assert policy.param_groups[0]["weight_decay"] == 0.0 and critic.param_groups[0]["weight_decay"] == value


def test_updates_per_step_and_warm_up():
    """11 random env steps, rounded up to steps of 2 copies, come before 0.4 updates per env step."""
    td3 = small(TD3, DeterministicMLP, warmup_steps=11, updates_per_step=0.4, steps=40)
    seen = []
    td3.update = lambda batch: seen.append(td3.env_steps) or {}
    td3.iterate()
    assert td3.env_steps == 40 and len(seen) == int(0.4 * (40 - 11)) == 11
    assert seen[0] == 14 and all(int(0.4 * (steps - 11)) >= k + 1 for k, steps in enumerate(seen))
    actions = td3.replay.read(StepIndex(torch.arange(6), torch.zeros(6, dtype=torch.int64)))["action"]
    assert actions.unique().numel() == 6 and actions.abs().max() <= 2.0


@pytest.mark.parametrize(
    ("cls", "kind", "steady"), [(SAC, GaussianMLP, STATE), (TD3, DeterministicMLP, {"normalize": False})]
)
def test_learning_rates_decay_between_two_counts_of_env_steps(cls, kind, steady):
    """Linearly from 0.1 and 0.3 at 20 env steps to 0 at 40; then no parameter changes any more."""
    rates = {"learning_rate": 0.1, "critic_learning_rate": 0.3, "updates_per_step": 1.0}
    algorithm = small(cls, kind, steady, warmup_steps=10, steps=10, decay_env_steps=(20, 40), **rates)
    seen, weights, update = [], [], algorithm.update

    def watched(batch):
        metrics = update(batch)
        groups = [optimizer.param_groups[0] for optimizer in algorithm.optimizers]
        seen.append((algorithm.env_steps, *(group["lr"] for group in groups[:2])))
        weights.append(torch.cat([p.detach().flatten() for group in groups for p in group["params"]]))
        return metrics

    algorithm.update = watched
    for _ in range(6):
        algorithm.iterate()
    assert {steps for steps, *_ in seen} == {*range(12, 61, 2)}
    for steps, policy_rate, critic_rate in seen:
        left = 1.0 if steps <= 20 else max(40 - steps, 0) / 20
        assert (policy_rate, critic_rate) == pytest.approx((0.1 * left, 0.3 * left))
    moved = [not torch.equal(before, after) for before, after in pairwise(weights)]
    assert moved == [steps < 40 for steps, *_ in seen[1:]]


@pytest.mark.parametrize(
    ("cls", "kind", "options", "message"),
    [
        (DDPG, GaussianMLP, {}, "policy must be a deterministic one, such as DeterministicMLP, got GaussianMLP"),
        (SAC, DeterministicMLP, {}, "policy must be a GaussianMLP, got DeterministicMLP"),
        (SVG0, DeterministicMLP, {}, "policy must be one with noise, such as GaussianMLP, got DeterministicMLP"),
        (DDPG, DeterministicMLP, {"target_rate": 1.0}, r"target_rate must be in \[0, 1\), got 1.0"),
        (DDPG, DeterministicMLP, {"exploration": "pink"}, "exploration must be one of gaussian, ou, got 'pink'"),
        (DDPG, DeterministicMLP, {"random_action_rate": 1.1}, r"random_action_rate must be in \[0, 1\], got 1.1"),
        (DDPG, DeterministicMLP, {"action_penalty": -1.0}, "action_penalty must be >= 0, got -1.0"),
        (DDPG, DeterministicMLP, {"target_range": (0, 0)}, r"target_range must be a lower .* bound, got \(0, 0\)"),
        (TD3, DeterministicMLP, {"policy_delay": 0}, "policy_delay must be >= 1, got 0"),
        (TD3, DeterministicMLP, {"updates_per_step": 0.0}, "updates_per_step must be > 0, got 0.0"),
        (TD3, DeterministicMLP, {"warmup_steps": -1}, "warmup_steps must be >= 0, got -1"),
        (
            TD3,
            DeterministicMLP,
            {"decay_env_steps": (5, 5)},
            r"decay_env_steps must be two increasing counts, got \(5, 5\)",
        ),
        (TD3, DeterministicMLP, {"decay_env_steps": (-1, 5)}, r"must be two increasing counts, got \(-1, 5\)"),
        (SAC, GaussianMLP, {"decay_env_steps": (5,)}, r"decay_env_steps must be two increasing counts, got \(5,\)"),
        (SAC, GaussianMLP, {"decay_env_steps": 5.5}, "decay_env_steps must be two increasing counts, got 5.5"),
        (SAC, GaussianMLP, {"decay_env_steps": 0}, "decay_env_steps must be >= 1, got 0"),
        (DPG, DeterministicMLP, {"data": "mine"}, "data must be one of on_policy, off_policy, got 'mine'"),
        (DPG, DeterministicMLP, {"data": "on_policy", "num_steps": 2}, "num_steps must be 1 for on_policy, got 2"),
        (SAC, GaussianMLP, {"temperature": 0.0}, "temperature must be > 0, got 0.0"),
        (SAC, GaussianMLP, {"replay_size": 1}, "replay_size must be >= num_envs = 2, got 1"),
    ],
)
def test_bad_input(cls, kind, options, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make(cls, kind, make_env("Pendulum-v1", 2), **options)


def test_sac_refuses_clipped_actions_whose_entropy_is_not_known():
    env = vector(Target, 1)
    spaces = env.single_observation_space, env.single_action_space
    with pytest.raises(ValueError, match="bounds must be tanh for SAC, because clipped actions have no density, got"):
        SAC(env, GaussianMLP(*spaces, bounds="clip"))


def test_random_actions_need_bounds():
    space = Box(np.float32([0.0, -1.0]), np.float32([np.inf, 1.0]))
    env = vector(Target, 1)
    with pytest.raises(ValueError, match="action_space must be one with finite bounds for SAC, which draws random"):
        SAC(env, GaussianMLP(env.single_observation_space, space))
