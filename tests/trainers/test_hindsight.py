"""Hindsight replay: goals and rewards by hand, the source of new goals, and learning with them."""

import math

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete

from benchmarks.bit_flip import BitFlip
from diffsim.policies import DeterministicMLP, DiscreteQMLP, Observations, Policy
from diffsim.trainers.experience.goals import Goals, find_goals
from diffsim.trainers.experience.hindsight import HindsightReplay
from diffsim.trainers.experience.vector_env import make_env, resumable
from diffsim.trainers.run.evaluation import OfficialEvaluation
from diffsim.trainers.value_gradient.ddpg import DDPG
from diffsim.trainers.value_gradient.dqn import DQN

from .q_learners import generator, make, run
from .small_envs import Chain, vector

FIELDS = {"obs": (3,), "action": (), "next_obs": (3,)}
STRATEGIES = ("final", "future", "episode", "random")
ONE = torch.ones(1)
every_strategy = pytest.mark.parametrize("strategy", STRATEGIES)
# Columns: achieved goal, desired goal, the rest. A walker on a line is at `place`; its goal is 100.
GOALS = Goals(slice(0, 1), slice(1, 2), lambda achieved, desired: -((achieved - desired) ** 2).sum(-1))


def walk(place, goal, next_place, reward, ended=False):
    """One step of one copy."""
    obs, next_obs = (torch.tensor([[x, goal, 7.0]]) for x in (place, next_place))
    numbers = {"action": place + 0.5, "reward": reward, "terminated": 0.0, "truncated": float(ended)}
    return {"obs": obs, "next_obs": next_obs} | {name: torch.tensor([value]) for name, value in numbers.items()}


def hand_made(strategy, fraction=1.0, goals=GOALS, capacity=10):
    """Episodes: 0 to 1 to 3 to 6; then 20 to 21 to 23, which has not ended."""
    replay = HindsightReplay(goals, capacity, 1, FIELDS, goal_strategy=strategy, relabel_fraction=fraction, gamma=0.5)
    for place, next_place, ended in [(0, 1, False), (1, 3, False), (3, 6, True), (20, 21, False), (21, 23, False)]:
        replay.add(walk(float(place), 100.0, float(next_place), -77.0, ended))
    return replay


# For the place at which a step begins: the possible new goals, by the definition of each strategy.
BY_HAND = {
    "final": {0: {6}, 1: {6}, 3: {6}, 20: {23}, 21: {23}},
    "future": {0: {1, 3, 6}, 1: {3, 6}, 3: {6}, 20: {21, 23}, 21: {23}},
    "episode": {0: {1, 3, 6}, 1: {1, 3, 6}, 3: {1, 3, 6}, 20: {21, 23}, 21: {21, 23}},
    "random": {place: {1, 3, 6, 21, 23} for place in (0, 1, 3, 20, 21)},
}
NEXT = {0: 1, 1: 3, 3: 6, 20: 21, 21: 23}


@every_strategy
def test_goals_and_rewards_of_a_hand_made_episode(strategy):
    batch = hand_made(strategy).sample(4000, generator())
    found = {place: {} for place in NEXT}
    for obs, action, reward, next_obs, discount in zip(*batch, strict=True):
        place, goal = int(obs[0]), int(obs[1])
        assert action == place + 0.5 and next_obs[0] == NEXT[place] and obs[2] == next_obs[2] == 7.0
        assert next_obs[1] == goal, "both observations have the same new goal"
        assert reward == -((NEXT[place] - goal) ** 2), "the environment's reward for it"
        assert discount == 0.5, "a time-out is not terminal"
        found[place][goal] = found[place].get(goal, 0) + 1
    assert {place: set(goals) for place, goals in found.items()} == BY_HAND[strategy]
    for goals in found.values():
        # Goals are sampled uniformly: within 4 standard errors of a binomial.
        total, share = sum(goals.values()), 1 / len(goals)
        for count in goals.values():
            assert abs(count - total * share) <= 4 * math.sqrt(total * share * (1 - share))


@pytest.mark.parametrize("fraction", [0.0, 0.25, 0.8, 1.0])
def test_the_configured_fraction_is_relabelled_and_the_rest_unchanged(fraction):
    batch = hand_made("future", fraction).sample(1000, generator())
    new = batch.obs[:, 1] != 100.0
    assert new.sum() == 1000 * fraction
    assert (batch.reward[~new] == -77.0).all() and (batch.reward[new] > -77.0).all()
    # Steps are sampled uniformly in both parts.
    for part in (batch.obs[new, 0], batch.obs[~new, 0]):
        if len(part):
            _, counts = part.unique(return_counts=True)
            assert len(counts) == 5 and ((counts - len(part) / 5).abs() < 4 * math.sqrt(len(part) * 0.16)).all()


def test_relabelling_does_not_change_the_buffer():
    replay = hand_made("future")
    before = replay.rows.clone()
    replay.sample(100, generator())
    assert torch.equal(replay.rows, before)


def test_terminations_that_depend_on_goals_are_recomputed():
    reached = replace_terminated(GOALS)
    batch = hand_made("future", goals=reached).sample(500, generator())
    at_goal = batch.next_obs[:, 0] == batch.obs[:, 1]
    assert at_goal.any() and not at_goal.all()
    assert torch.equal(batch.discount, torch.where(at_goal, 0.0, 0.5))


SPARSE = Goals(slice(0, 1), slice(1, 2), lambda achieved, desired: (achieved == desired).all(-1).to(achieved) - 1.0)


@pytest.mark.parametrize("ends", [True, False])
def test_a_relabelled_success_is_terminal_if_the_task_says_so(ends):
    """0 to 1 to 2, which is the goal of the episode and ends it; 9 to 5, a fall, which ends it for any goal."""
    options = {"goal_strategy": "future", "relabel_fraction": 1.0, "gamma": 0.5, "success_terminates": ends}
    replay = HindsightReplay(SPARSE, 10, 1, FIELDS, **options)
    for place, goal, following, reward, terminated in ((0, 2, 1, -1, 0), (1, 2, 2, 0, 1), (9, 2, 5, -1, 1)):
        replay.add(walk(float(place), float(goal), float(following), float(reward)) | {"terminated": terminated * ONE})
    batch = replay.sample(600, generator())
    place, goal = batch.obs[:, 0], batch.obs[:, 1]
    reached = batch.next_obs[:, 0] == goal
    terminal = (reached | (place == 9.0)) if ends else (place != 0.0)
    assert torch.equal(batch.discount == 0.0, terminal) and torch.equal(batch.reward == 0.0, reached)
    assert {(0.0, 1.0), (0.0, 2.0), (1.0, 2.0)} <= set(zip(place.tolist(), goal.tolist(), strict=True))


def test_a_termination_without_a_reason_is_refused():
    replay = HindsightReplay(SPARSE, 10, 1, FIELDS)
    replay.add(walk(0.0, 2.0, 1.0, -1.0))
    with pytest.raises(ValueError, match="success_terminates must be true or false for an environment whose episodes"):
        replay.add(walk(1.0, 2.0, 2.0, 0.0) | {"terminated": ONE})
    with pytest.raises(ValueError, match="success_terminates must be null for an environment with a compute_"):
        HindsightReplay(replace_terminated(SPARSE), 10, 1, FIELDS, success_terminates=True)


def replace_terminated(goals):
    return goals._replace(terminated=lambda achieved, desired: (achieved == desired).all(-1).to(achieved))


@every_strategy
@pytest.mark.parametrize("count", [3, 17, 40, 95])
def test_no_goal_comes_from_another_episode(strategy, count):
    # Two copies; the achieved goal encodes copy, episode and age. The ring of 20 steps is overwritten several times.
    replay = HindsightReplay(GOALS, 40, 2, FIELDS, goal_strategy=strategy, relabel_fraction=1.0)
    lengths, episode, age = ([3, 7, 1, 25, 4] * 20, [4, 2, 9, 30, 1] * 20), [0, 0], [0, 0]
    for _ in range(count):
        places = [1e4 * (copy + 1) + 100.0 * episode[copy] + age[copy] for copy in (0, 1)]
        ended = [age[copy] + 1 == lengths[copy][episode[copy]] for copy in (0, 1)]
        steps = [walk(place, -1.0, place + 1.0, 0.0, end) for place, end in zip(places, ended, strict=True)]
        replay.add({name: torch.cat([step[name] for step in steps]) for name in steps[0]})
        for copy in (0, 1):
            episode[copy] += ended[copy]
            age[copy] = 0 if ended[copy] else age[copy] + 1
    batch = replay.sample(2000, generator())
    reached, goal = batch.next_obs[:, 0], batch.obs[:, 1]
    same = (reached - 1).div(100, rounding_mode="floor") == (goal - 1).div(100, rounding_mode="floor")
    assert same.all() if strategy != "random" else not same.all()
    if strategy in ("final", "future"):
        assert (goal >= reached).all() and (goal > reached).any()
    if strategy == "episode" and count > 3:
        assert (goal < reached).any()


def test_the_same_seed_samples_the_same():
    first, again, other = (hand_made("future").sample(50, generator(seed)) for seed in (1, 1, 2))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first.obs, other.obs)


@pytest.mark.parametrize("task", ["ReacherGoal-v0", "diffsim/ReacherGoal-v0", "PointPush-v0", "diffsim/PointPush-v0"])
def test_goals_are_found_in_flat_observations_and_rewards_are_the_environments(task):
    env = make_env(task, 3, seed=0, distance_threshold=0.1)
    goals = find_goals(env)
    assert env.single_observation_space.shape == env.obs.shape[1:] and env.obs.shape[0] == 3
    assert isinstance(env.single_observation_space, Box)
    rewards = []
    rng = np.random.default_rng(0)
    for _ in range(60):
        obs, reward, *_ = env.step(rng.uniform(-1, 1, (3, 2)))
        obs = torch.as_tensor(obs)
        recomputed = goals.reward(obs[:, goals.achieved], obs[:, goals.desired])
        np.testing.assert_array_equal(recomputed.numpy(), reward)
        rewards += list(reward)
        if len(rewards) == 90:
            env.reset(seed=1)
    assert set(rewards) == {0.0, -1.0}


def test_functions_of_one_pair_of_goals_are_called_row_by_row():
    class OneByOne(BitFlip):
        def compute_terminated(self, achieved, desired, info):
            assert achieved.ndim == desired.ndim, "it returns a scalar for any shape"
            return bool(np.linalg.norm(achieved - desired) == 0)

    goals = find_goals(vector(OneByOne, 2, n=3))
    achieved = torch.tensor([[0.0, 0, 1], [1, 1, 1], [0, 1, 0]])
    desired = torch.tensor([[0.0, 0, 1], [1, 0, 1], [0, 1, 0]])
    assert goals.terminated(achieved, desired).tolist() == [1.0, 0.0, 1.0]
    assert goals.reward(achieved, desired).tolist() == [0.0, -1.0, 0.0]


def test_flat_observations_equal_those_of_gymnasium():
    env = BitFlip(4)
    obs, _ = env.reset(seed=0)
    np.testing.assert_array_equal(
        Observations(env.observation_space).flat(obs), gymnasium.spaces.flatten(env.observation_space, obs)
    )
    wrapped = resumable(vector(BitFlip, 2, n=4), 0)
    assert wrapped.obs.shape == (2, 12)


def test_evaluation_logs_the_success_rate():
    class Toward(torch.nn.Module):
        """Joint torques by the transposed Jacobian times the vector from fingertip to goal."""

        memory_size = 0
        initial_memory, step = Policy.initial_memory, Policy.step

        def __init__(self, gain):
            super().__init__()
            self.gain = torch.nn.Parameter(torch.tensor(gain, dtype=torch.float64))

        def reset(self, ended=None):
            pass

        def forward(self, obs, noise=None):
            tip, goal, (c1, c2, s1, s2) = obs[..., :2], obs[..., 2:4], obs[..., 4:8].unbind(-1)
            second = 0.11 * torch.stack([c1 * c2 - s1 * s2, s1 * c2 + c1 * s2], -1)
            columns = [torch.stack([-arm[..., 1], arm[..., 0]], -1) for arm in (tip, second)]
            torque = torch.stack([(column * (goal - tip)).sum(-1) for column in columns], -1)
            return (self.gain * torque - 0.1 * obs[..., 8:10]).clamp(-1, 1)

        def decode(self, action):
            return action

    evaluation = OfficialEvaluation("ReacherGoal-v0", {}, episodes=10)
    good, bad = evaluation(Toward(200.0)), evaluation(Toward(0.0))
    assert good["success_rate"] >= 0.8 and bad["success_rate"] <= 0.2
    assert good["return"] > bad["return"] >= -50 and good["length"] == 50
    assert "success_rate" not in OfficialEvaluation("Pendulum-v1", {}, episodes=1)(Still())


class Still(torch.nn.Module):
    memory_size = 0
    initial_memory, step = Policy.initial_memory, Policy.step

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def reset(self, ended=None):
        pass

    def forward(self, obs, noise=None):
        return torch.zeros(*obs.shape[:-1], 1)

    def decode(self, action):
        return action


SMALL = {"steps": 40, "warmup_steps": 20, "batch_size": 16}


def test_resuming_with_hindsight_is_bitwise_exact(tmp_path):
    def fresh():
        env = make_env("diffsim/ReacherGoal-v0", 4, seed=1)
        replay = HindsightReplay.of(env, 100, dtype=torch.float64)
        return make(DDPG, DeterministicMLP, env, 1, replay=replay, critic_hidden_sizes=(8,), **SMALL)

    whole = run(fresh(), tmp_path / "whole", 4)
    run(fresh(), tmp_path / "parts", 2)
    parts = run(fresh(), tmp_path / "parts", 4, resume=True)
    assert whole.updates == parts.updates > 0 and isinstance(parts.replay, HindsightReplay)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, parts.state_dict()[name]), name


def flip_bits(tmp_path, n, hindsight, iterations):
    """Success rate of DQN in flipping n bits, over 200 episodes."""
    env = resumable(vector(BitFlip, 8, n=n), 0)
    replay = HindsightReplay.of(env, 20_000, dtype=torch.float64) if hindsight else None
    options = {"steps": 400, "warmup_steps": 400, "updates_per_step": 0.25, "exploration_env_steps": 4000}
    torch.manual_seed(0)
    policy = DiscreteQMLP(env.single_observation_space, env.single_action_space, hidden_sizes=(64,)).double()
    algorithm = DQN(env, policy, replay, gamma=0.95, target_rate=0.98, **options)
    run(algorithm, tmp_path / str(hindsight), iterations)
    test = vector(BitFlip, 200, n=n)
    obs, _ = test.reset(seed=0)
    ended, successes = np.zeros(200, dtype=bool), 0
    with torch.no_grad():
        while not ended.all():
            flat_obs = torch.as_tensor(Observations(test.single_observation_space).flat(obs))
            obs, _, terminated, truncated, _ = test.step(policy(flat_obs).numpy())
            successes += (terminated & ~ended).sum()
            ended |= terminated | truncated
            if (terminated | truncated).any():
                obs, _ = test.reset(options={"reset_mask": terminated | truncated})
    return successes / 200


def test_dqn_flips_bits_with_hindsight_and_not_without(tmp_path):
    assert flip_bits(tmp_path, 6, True, 10) > 0.9
    assert flip_bits(tmp_path, 6, False, 10) < 0.3


def test_dqn_learns_a_one_step_choice(tmp_path):
    class Choice(gymnasium.Env):
        """One step; the observed sign determines the rewarded action."""

        observation_space, action_space = Box(-1.0, 1.0, (1,), np.float64), Discrete(3, start=1)

        def reset(self, *, seed=None, options=None):
            super().reset(seed=seed)
            self.sign = float(self.np_random.choice([-1.0, 1.0]))
            return np.array([self.sign]), {}

        def step(self, action):
            assert self.action_space.contains(action)
            return np.array([self.sign]), {1: self.sign, 2: 0.2, 3: -self.sign}[int(action)], True, False, {}

    algorithm = make(DQN, DiscreteQMLP, vector(Choice, 2), steps=200, warmup_steps=100, exploration_env_steps=100)
    run(algorithm, tmp_path, 4)
    obs = torch.tensor([[1.0], [-1.0]], dtype=torch.float64)
    assert algorithm.policy(obs).tolist() == [1, 3]
    expected = torch.tensor([[1.0, 0.2, -1.0], [-1.0, 0.2, 1.0]], dtype=torch.float64)
    assert (algorithm.policy.values(obs) - expected).abs().max() < 0.1


def test_messages_name_argument_rule_and_value():
    env = make_env("ReacherGoal-v0", 1)
    with pytest.raises(ValueError, match="goal_strategy must be one of final, future, episode, random, got 'last'"):
        HindsightReplay.of(env, 10, goal_strategy="last")
    with pytest.raises(ValueError, match=r"relabel_fraction must be in \[0, 1\], got 1.5"):
        HindsightReplay.of(env, 10, relabel_fraction=1.5)
    with pytest.raises(ValueError, match="num_steps must be 1 with a goal_strategy, got 3"):
        HindsightReplay.of(env, 10, num_steps=3)
    with pytest.raises(ValueError, match="goal_strategy needs an environment whose observations have an achieved_goal"):
        find_goals(resumable(vector(Chain, 1), 0))
    for task in ("PointPush-v0", "diffsim/PointPush-v0"):
        with pytest.raises(
            ValueError, match="rewards that depend on the goals alone, got one that depends on info.'near_distance'"
        ):
            find_goals(make_env(task, 1, reward_type="dense"))
    with pytest.raises(TypeError, match="policy must be a DiscreteQMLP, got DeterministicMLP"):
        make(DQN, DeterministicMLP, make_env("Pendulum-v1", 1))
    with pytest.raises(TypeError, match="action_space must be Discrete, got Box"):
        DiscreteQMLP(Box(-1, 1, (2,)), Box(-1, 1, (2,)))
