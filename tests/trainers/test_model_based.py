"""ModelBased on a linear system: every improver trains, and resuming is exact."""

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box

from diffsim.models import REWARDS
from diffsim.policies import GaussianMLP
from diffsim.trainers.errors import UsageError
from diffsim.trainers.model_based.collection import UniformActor, collect_data
from diffsim.trainers.model_based.model_based import IMPROVERS, ModelBased
from diffsim.trainers.model_based.model_learning import validation_mask, with_two_episodes
from diffsim.trainers.run.arguments import RunOptions
from diffsim.trainers.run.checkpoint import read_checkpoint
from diffsim.trainers.run.run_folder import RunFolder
from tests.models.linear_system import quadratic_reward
from tests.trainers.running import runner
from tests.trainers.small_envs import LinearEnv, vector

OPTIONS = {
    "BPTT": {"horizon": 4, "start": "per_iteration"},
    "SHAC": {"horizon": 4, "value_epochs": 1, "value_hidden_sizes": (8,)},
    "Pegasus": {"horizon": 4, "num_fresh": 4},
    "SVGInf": {"horizon": 4},
    "SVG1": {"value_hidden_sizes": (8,)},
    "SVGk": {"horizon": 3, "value_hidden_sizes": (8,), "importance_weights": False},
}


@pytest.fixture(autouse=True)
def known_reward(monkeypatch):
    monkeypatch.setitem(REWARDS, "linear", quadratic_reward)


def fresh(improver, env=None, **kwargs):
    torch.manual_seed(3)
    env = vector(LinearEnv, 2) if env is None else env
    spaces = env.single_observation_space, env.single_action_space
    policy = GaussianMLP(*spaces, hidden_sizes=(8,), out_scale=1.0).double()
    model = {"num_members": 2, "num_elites": 1, "hidden_sizes": (), "noise": "constant", "reward": "linear"}
    options = {
        "improver_kwargs": OPTIONS[improver],
        "model_kwargs": model,
        "fit_kwargs": {"max_epochs": 2, "batch_size": 16},
        "initial_steps": 60,
        "steps_per_iteration": 20,
        "updates_per_iteration": 2,
        "num_branches": 4,
        "imagined_steps": 6,
        **kwargs,
    }
    return ModelBased(env, policy, improver=improver, seed=4, **options)


run = runner(RunOptions(task="linear", evaluate_every=5))


@pytest.mark.parametrize("improver", IMPROVERS)
def test_every_improver_trains_and_resumes_exactly(tmp_path, improver):
    whole = run(fresh(improver), tmp_path / "whole", 3)
    assert whole.env_steps == 60 + 20 + 20 and len(whole.data) == 100
    assert not torch.equal(whole.policy.network[0].weight, fresh(improver).policy.network[0].weight)
    run(fresh(improver), tmp_path / "parts", 2)
    assert read_checkpoint(RunFolder(tmp_path / "parts").checkpoint)["diffsim"]["iteration"] == 2
    parts = run(fresh(improver), tmp_path / "parts", 3, resume=True)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, parts.state_dict()[name]), name
    for name, value in whole.data.tensors().items():
        assert torch.equal(value.nan_to_num(), parts.data.tensors()[name].nan_to_num()), name
    assert torch.equal(whole.generator.get_state(), parts.generator.get_state())


def test_bptt_through_the_model_learns_the_linear_system(tmp_path):
    """From actions near zero, training reduces the cost in the system itself."""

    def cost(policy):
        env, total = vector(LinearEnv, 50), 0.0
        obs, _ = env.reset(seed=9)
        for _ in range(10):
            with torch.no_grad():
                obs, reward, *_ = env.step(policy(torch.as_tensor(obs)).numpy())
            total += reward.mean()
        return -total

    algorithm = fresh(
        "BPTT",
        improver_kwargs={"horizon": 10, "start": "per_iteration", "learning_rate": 0.04},
        fit_kwargs={"max_epochs": 20, "batch_size": 64, "learning_rate": 0.05},
        initial_steps=400,
        updates_per_iteration=40,
        num_branches=32,
        starts="episodes",
    )
    before = cost(algorithm.policy)
    run(algorithm, tmp_path, 1)
    assert cost(algorithm.policy) < 0.75 * before


def test_uniform_actions_are_uniform():
    like = torch.zeros(1, dtype=torch.float64)
    actor = UniformActor(Box(np.array([-1.0, 0.0]), np.array([3.0, 10.0]), dtype=np.float64), like)
    action = actor(like, torch.randn(20_000, 2, dtype=torch.float64))
    torch.testing.assert_close(action.mean(0), torch.tensor([1.0, 5.0]).double(), rtol=0, atol=0.1)
    torch.testing.assert_close(action.std(0), torch.tensor([4.0, 10.0]).double() / 12**0.5, rtol=0.02, atol=0)
    assert actor.log_prob(like, action)[0].item() == pytest.approx(-np.log(40.0))
    with pytest.raises(ValueError, match="action_space must be one with finite bounds"):
        UniformActor(Box(-np.inf, np.inf, (2,)), like)


def test_data_hold_the_log_densities_of_the_policy():
    algorithm = fresh("SVG1")
    data, trajectory = collect_data(algorithm.env, algorithm.policy, 10, algorithm.generator, algorithm.running_return)
    assert len(data) == 10 and trajectory.reward.shape == (5, 2)
    expected = algorithm.policy.log_prob(data.obs, data.action)
    torch.testing.assert_close(data.log_prob, expected.detach())


def test_a_single_episode_is_split_in_two():
    algorithm = fresh("BPTT", env=vector(LinearEnv, 1))
    data, _ = collect_data(algorithm.env, algorithm.policy, 10, algorithm.generator, algorithm.running_return)
    assert data.episode.tolist() == [0] * 10
    split = with_two_episodes(data, 0.2)
    assert (
        split.episode.tolist() == [0, 0] + [1] * 8
        and validation_mask(split, 0.2).tolist() == [True, True] + [False] * 8
    )
    assert torch.equal(with_two_episodes(split, 0.2).episode, split.episode)
    assert with_two_episodes(data[:2], 0.1).episode.tolist() == [0, 1]


def test_a_single_transition_is_refused(tmp_path):
    with pytest.raises(UsageError, match="initial_steps must cover >= 2 transitions, .*got 1"):
        run(fresh("BPTT", env=vector(LinearEnv, 1), initial_steps=1), tmp_path, 1)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"improver_kwargs": {"horizn": 3}}, "improver_kwargs must be among horizon, .*, got horizn; did you mean hor"),
        (
            {"improver": "SHAC", "improver_kwargs": {"average": 0.5}},
            "option average in improver_kwargs is now actor_ema",
        ),
        ({"model": "Nope"}, "model must be one of WorldModel, or my_module:MyClass, got 'Nope'"),
        ({"model_kwargs": {"width": 3}}, "model_kwargs must be among num_members, .*, got width"),
        ({"fit_kwargs": {"epochs": 3}}, "fit_kwargs must be among horizon, .*, got epochs"),
        ({"initial_steps": 0}, "initial_steps must be >= 1, got 0"),
        ({"validation_share": 0.6}, r"validation_share must be in \(0, 0.5\], got 0.6"),
        ({"num_branches": 0}, "num_branches must be >= 1, got 0"),
    ],
)
def test_errors_name_argument_rule_and_value(kwargs, message):
    with pytest.raises(ValueError, match=message):
        fresh(**{"improver": "BPTT", **kwargs})
    with pytest.raises(ValueError, match="improver must be one of BPTT, .*, got 'Dreamer'"):
        ModelBased(vector(LinearEnv, 1), fresh("BPTT").policy, improver="Dreamer")
