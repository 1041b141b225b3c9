"""Roll-outs of a population: every member as if it were alone, in environments and in a batch of an MDP."""

import copy
from dataclasses import replace

import gymnasium
import numpy as np
import pytest
import torch

import diffsim.gym
from diffsim.policies import CategoricalMLP, DeterministicMLP, GaussianMLP, LinearChoice, LinearPolicy, RBFPolicy
from diffsim.tetris import DELLACHERIE_WEIGHTS
from diffsim.trainers.black_box.candidates import Vectors
from diffsim.trainers.black_box.cem import CEM
from diffsim.trainers.black_box.finite_differences import FiniteDifferences
from diffsim.trainers.black_box.make_rollouts import make_rollouts
from diffsim.trainers.black_box.population_policy import PopulationPolicy
from diffsim.trainers.black_box.shares import Share, derived_seed
from diffsim.trainers.errors import NonFiniteError
from diffsim.trainers.experience.goals import make_official
from diffsim.trainers.experience.vector_env import episode_seed, make_env
from tests.trainers.linear import LinearQuadratic

CARTPOLE = "CartPole-v1"


def random_vectors(policy, count, seed=0):
    size = sum(p.numel() for p in policy.parameters())
    return torch.randn(count, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def set_vector(policy, vector):
    torch.nn.utils.vector_to_parameters(vector, policy.parameters())


def cartpole(num_envs=4, policy=LinearPolicy, policy_options=None, **options):
    env = make_env(CARTPOLE, num_envs)
    made = policy(env.single_observation_space, env.single_action_space, **(policy_options or {})).double()
    return CEM(env, made, population=7, elite_fraction=0.5, **options)


@pytest.mark.parametrize(
    ("task", "cls", "options"),
    [
        (CARTPOLE, LinearPolicy, {"normalize": True}),
        (CARTPOLE, RBFPolicy, {}),
        (CARTPOLE, CategoricalMLP, {"hidden_sizes": (5,)}),
        ("Pendulum-v1", LinearPolicy, {"bias": False}),
        ("Pendulum-v1", DeterministicMLP, {"hidden_sizes": (5, 4), "layer_norm": True}),
        ("Pendulum-v1", GaussianMLP, {"hidden_sizes": (5,), "std": "state"}),
    ],
)
def test_every_member_acts_by_its_own_parameters(task, cls, options):
    env = gymnasium.make(task)
    policy = cls(env.observation_space, env.action_space, **options).double()
    if policy.normalizer is not None:
        policy.normalizer.update(torch.randn(50, policy.obs_size).double() * 3 + 1)
    vectors = random_vectors(policy, 3)
    together = PopulationPolicy(policy, 4)
    together.load(vectors, dict(policy.named_buffers()))
    generator = torch.Generator().manual_seed(2)
    obs = torch.randn(4, 2, policy.obs_size, generator=generator, dtype=torch.float64)
    noises = [None]
    if policy.noise_size:
        noises.append(torch.randn(4, 2, policy.noise_size, generator=generator, dtype=torch.float64))
    for noise in noises:
        actions, _ = together(obs, together.initial_memory(2), noise)
        for k in range(4):
            set_vector(policy, vectors[min(k, 2)])  # the last member fills the place that is left
            expected = policy.decode(policy(obs[k], None if noise is None else noise[k]))
            torch.testing.assert_close(actions[k], expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("common", ["none", "generation", "run"])
def test_episodes_are_those_of_each_member_alone(common):
    algorithm = cartpole(episodes=2, gamma=0.9, common_numbers=common, horizon=80, seed=5)
    vectors = random_vectors(algorithm.policy, 7)
    algorithm.iteration = 2  # the third generation
    answer = algorithm.evaluate_members(Vectors(vectors))  # shares of 2, 2, 2 and 1 members
    env = gymnasium.make(CARTPOLE)
    for k in range(7):
        set_vector(algorithm.policy, vectors[k])
        for m in range(2):
            scenario = {"none": (3, 2 * k + m), "generation": (3, m), "run": (0, m)}[common]
            obs, total, length, ended = env.reset(seed=episode_seed(5, *scenario))[0], 0.0, 0, False
            while not ended and length < 80:
                obs, reward, terminated, truncated, _ = env.step(algorithm.policy(torch.as_tensor(obs).double()).item())
                total += 0.9**length * float(reward)
                length += 1
                ended = terminated or truncated
            assert answer.lengths[k, m] == length
            assert answer.returns[k, m].item() == pytest.approx(total, rel=1e-12)
    assert algorithm.env_steps == answer.lengths.sum()


def lq_algorithm(num_envs=6, policy_options=None, **options):
    mdp = LinearQuadratic(num_envs, **{name: options.pop(name) for name in ("bound", "noise_std") if name in options})
    env = diffsim.gym.VectorEnv(mdp, max_episode_steps=20)
    policy = LinearPolicy(mdp.observation_space, mdp.action_space, **(policy_options or {})).double()
    return CEM(env, policy, population=5, elite_fraction=0.5, **options)


@pytest.mark.parametrize("common", ["none", "generation", "run"])
def test_members_in_one_batch_of_an_mdp_are_those_of_each_alone(common):
    algorithm = lq_algorithm(bound=1.5, noise_std=0.2, episodes=3, common_numbers=common, seed=8)
    vectors = random_vectors(algorithm.policy, 5)
    answer = algorithm.evaluate_members(Vectors(vectors))  # shares of 2, 2 and 1 members
    mdp = LinearQuadratic(6, bound=1.5, noise_std=0.2)
    ends = 0
    for first in (0, 2, 4):
        scenario = {"none": (1, 3 * first), "generation": (1, 0), "run": (0, 0)}[common]
        generator = torch.Generator().manual_seed(derived_seed(8, *scenario))
        starts = mdp.initial(generator)
        if common == "none":
            noises = [torch.randn(2, 3, 2, generator=generator, dtype=torch.float64) for _ in range(20)]
        else:
            starts = torch.cat([starts[:3]] * 2)
            noises = [torch.randn(1, 3, 2, generator=generator, dtype=torch.float64) for _ in range(20)]
            noises = [noise.repeat(2, 1, 1) for noise in noises]
        for k in range(first, min(first + 2, 5)):
            set_vector(algorithm.policy, vectors[k])
            for m in range(3):
                x, total = starts[3 * (k - first) + m][None], 0.0
                for t in range(20):
                    u = algorithm.policy(x)
                    y = mdp.transition(x, u, noises[t][k - first, m][None])
                    total += mdp.reward(x, u, y).item()
                    x = y
                    if mdp.terminal(x).item():
                        ends += 1
                        break
                assert answer.lengths[k, m] == t + 1
                assert answer.returns[k, m].item() == pytest.approx(total, rel=1e-9)
    assert ends > 0


@pytest.mark.parametrize("make", [cartpole, lq_algorithm])
def test_common_random_numbers_make_equal_members_equal(make):
    for common, equal in (("none", False), ("generation", True)):
        algorithm = make(num_envs=4, common_numbers=common)
        vectors = random_vectors(algorithm.policy, 1).repeat(4, 1)
        returns = [algorithm.evaluate_members(Vectors(vectors)).returns[:, 0] for _ in range(2)]
        assert (len(returns[0].unique()) == 1) == equal
        assert torch.equal(*returns)  # the same generation again
        algorithm.iteration += 1
        assert not torch.equal(algorithm.evaluate_members(Vectors(vectors)).returns[:, 0], returns[0])


def test_finite_differences_under_common_random_numbers_are_the_gradient_of_the_same_episodes():
    mdp, gain = LinearQuadratic(8), torch.tensor([[-0.2, -0.3]], dtype=torch.float64)
    starts = mdp.initial(torch.Generator().manual_seed(derived_seed(4, 1, 0)))
    exact = 2.0 * mdp.gain_gradient(gain, starts, 5)[0]  # u = 2 W x, within its bounds
    errors = {}
    for common in ("generation", "none"):
        env = diffsim.gym.VectorEnv(mdp, max_episode_steps=5)
        policy = LinearPolicy(mdp.observation_space, mdp.action_space, bias=False).double()
        options = {"episodes": 8, "perturbation": 1e-4, "seed": 4, "optimizer": "sgd", "learning_rate": 1e-6}
        algorithm = FiniteDifferences(env, policy, common_numbers=common, **options)
        algorithm.set_policy(gain[0] / 2.0)
        algorithm.train_iteration()
        found = (algorithm.vector() - gain[0] / 2.0) / 1e-6
        errors[common] = ((found - exact).norm() / exact.norm()).item()
    assert errors["generation"] < 1e-4 and errors["none"] > 1.0, errors


def test_sampled_actions_differ_between_members_unless_numbers_are_common():
    for common, equal in (("none", False), ("generation", True)):
        algorithm = cartpole(8, CategoricalMLP, {"hidden_sizes": ()}, sampled=True, common_numbers=common)
        answer = algorithm.evaluate_members(Vectors(algorithm.vector().repeat(8, 1)))
        assert (len(answer.lengths.unique()) == 1) == equal
    mean = cartpole(8, CategoricalMLP, {"hidden_sizes": ()}, common_numbers="generation")
    assert not torch.equal(mean.evaluate_members(Vectors(mean.vector().repeat(8, 1))).lengths, answer.lengths)


@pytest.mark.parametrize("make", [cartpole, lq_algorithm])
def test_observation_statistics_are_those_of_all_running_steps(make):
    algorithm = make(policy_options={"normalize": True})
    normalizer = algorithm.policy.normalizer
    normalizer.update(torch.randn(30, algorithm.policy.obs_size).double() + 3.0)
    before, vectors = copy.deepcopy(algorithm.policy), random_vectors(algorithm.policy, 5)
    algorithm.evaluate_members(Vectors(vectors))
    assert normalizer.count - before.normalizer.count == algorithm.env_steps
    seen = recorded_observations(algorithm, before, vectors)
    before.normalizer.update(seen)
    for name in ("mean", "variance", "count"):
        expected = getattr(before.normalizer, name)
        torch.testing.assert_close(getattr(normalizer, name), expected, rtol=1e-9, atol=1e-9)


def recorded_observations(algorithm, policy, vectors):
    """All observations of the first generation of members with a policy's buffers, [B, O]."""
    rollouts = make_rollouts(algorithm.env, policy, replace(algorithm.episode_options, record=True))
    found = []
    for first in range(0, len(vectors), rollouts.size):
        members = Vectors(vectors[first : first + rollouts.size])
        answer = rollouts(Share(1, first, members, dict(policy.named_buffers())))
        alive = torch.arange(len(answer.steps.obs))[:, None] < answer.lengths.flatten()
        torch.testing.assert_close(answer.steps.reward.sum(0), answer.returns.flatten(), rtol=1e-12, atol=0.0)
        assert not answer.steps.obs[~alive].any()
        found.append(answer.steps.obs[alive])
    return torch.cat(found)


def test_a_simulated_task_gives_the_returns_of_gymnasiums_environment():
    simulated = make_env("diffsim/InvertedPendulum-v5", 2)
    policy = LinearPolicy(simulated.single_observation_space, simulated.single_action_space).double()
    vector = torch.tensor([0.2, 1.0, 0.3, 0.6, 0.0], dtype=torch.float64)
    found = CEM(simulated, policy, population=4, elite_fraction=0.5, horizon=60)
    returns = found.evaluate_members(Vectors(vector.repeat(4, 1))).returns
    assert (returns == 60.0).all()
    found = CEM(simulated, policy, population=4, elite_fraction=0.5)
    falling = found.evaluate_members(Vectors(-vector.repeat(4, 1)))
    assert torch.equal(falling.returns, falling.lengths.double() - 1) and falling.lengths.max() < 60


def test_tasks_with_goals_are_observed_as_in_evaluation():
    """Parts of a dictionary have the same order in both kinds of roll-outs and in the official environment."""
    env = make_env("ReacherGoal-v0", 2)
    policy = LinearPolicy(env.single_observation_space, env.single_action_space).double()
    vectors = random_vectors(policy, 2)
    algorithm = CEM(env, policy, population=4, elite_fraction=0.5, horizon=20)
    answer = algorithm.evaluate_members(Vectors(vectors))
    official = make_official("ReacherGoal-v0")
    for k in range(2):
        set_vector(policy, vectors[k])
        obs, total = official.reset(seed=episode_seed(0, 1, k))[0], 0.0
        for _ in range(20):
            obs, reward, *_ = official.step(policy(torch.as_tensor(obs).double()).detach().numpy())
            total += float(reward)
        assert answer.returns[k, 0].item() == pytest.approx(total, rel=1e-9)
    simulated = make_env("diffsim/ReacherGoal-v0", 2)
    state = simulated.state_dict()["state"]
    np.testing.assert_allclose(simulated.env.mdp.observation(state).numpy(), simulated.obs, rtol=1e-6)


@pytest.mark.parametrize("workers", [0, 1])
def test_whole_games_of_tetris_are_those_step_by_step(workers):
    found = []
    for own in ({"workers": workers}, {"gamma": 1.0 - 1e-15}):  # a discount turns whole games off
        env = make_env("diffsim/Tetris-v0", 6, features="dellacherie", max_episode_steps=40)
        policy = LinearChoice(env.single_observation_space, env.single_action_space).double()
        algorithm = CEM(env, policy, population=4, elite_fraction=0.5, episodes=2, **own)
        good = torch.tensor(DELLACHERIE_WEIGHTS, dtype=torch.float64)
        members = torch.stack([good, -good, good * torch.tensor([1.0, 0, 1, 1, 1, 1]), torch.zeros(6)])
        found.append(algorithm.evaluate_members(Vectors(members.double())))
        algorithm.close()
    assert torch.equal(found[0].lengths, found[1].lengths) and found[0].lengths[1].max() < 40
    torch.testing.assert_close(found[0].returns, found[1].returns, rtol=1e-9, atol=0.0)
    assert found[0].returns[0].min() > 5


def test_a_simulation_that_diverges_is_an_error_with_its_time_step():
    class Diverging(LinearQuadratic):
        def transition(self, state, action, noise=None):
            reached = super().transition(state, action, noise)
            if (reached.abs() > 3.0).any():
                raise FloatingPointError("a number is too large")
            return reached

    env = diffsim.gym.VectorEnv(Diverging(4), max_episode_steps=50)
    policy = LinearPolicy(env.single_observation_space, env.single_action_space).double()
    with pytest.raises(NonFiniteError, match=r"at time step \d+ of the window, a number is too large"):
        CEM(env, policy, population=4, elite_fraction=0.5).train_iteration()


def test_images_are_searched_too():
    space = gymnasium.spaces.Box(0, 255, (8, 8, 1), np.uint8)
    policy = CategoricalMLP(space, gymnasium.spaces.Discrete(2), hidden_sizes=(4,), convolutions=[[2, 3, 2]]).double()
    together = PopulationPolicy(policy, 2)
    vectors = random_vectors(policy, 2)
    together.load(vectors, dict(policy.named_buffers()))
    obs = torch.randint(256, (2, 3, 8, 8, 1), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    actions, _ = together(obs, together.initial_memory(3), None)
    for k in range(2):
        set_vector(policy, vectors[k])
        assert torch.equal(actions[k], policy(obs[k]))
