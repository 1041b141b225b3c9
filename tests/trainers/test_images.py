"""Learning from images, from the environment to the checkpoint; and the images of Pong."""

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete

from diffsim.policies import CategoricalMLP
from diffsim.trainers.experience.vector_env import make_env
from diffsim.trainers.likelihood_ratio.reinforce import Reinforce
from diffsim.trainers.maths.returns import first_episode
from diffsim.trainers.run.run_folder import RunFolder
from examples.pong import small
from tests.trainers.commands import diffsim, metrics
from tests.trainers.small_envs import vector


class Brighter(gymnasium.Env):
    """Three steps. One half of each 10 x 10 image of bytes is brighter than the other; its index gets the reward 1."""

    observation_space = Box(0, 255, (10, 10), np.uint8)
    action_space = Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.age = 0
        return self._image(), {}

    def step(self, action):
        reward = float(action == self.side)
        self.age += 1
        return self._image(), reward, self.age == 3, False, {}

    def _image(self):
        self.side = int(self.np_random.integers(2))
        image = self.np_random.integers(60, 120, (10, 10))
        image[:, 5 * self.side : 5 * self.side + 5] += 120
        return image.astype(np.uint8)


gymnasium.register("Brighter-v0", Brighter)
ID = "tests.trainers.test_images:Brighter-v0"
SMALL = ["--convolutions", "[[4,4,2]]", "--hidden_sizes", "[16]", "--num_envs", 8]


def test_fit_learns_from_images_and_evaluates_on_them(tmp_path):
    """A random policy gets 1.5 of 3."""
    words = ["--task", ID, "--algorithm", "Reinforce", *SMALL, "--num_envs", 16, "--learning_rate", 0.01]
    words += ["--baseline", "average", "--iterations", 25, "--evaluate_every", 25, "--evaluate_episodes", 20]
    assert diffsim("fit", *words, "--run", tmp_path / "run") == 0
    rows = metrics(tmp_path / "run")
    assert float(rows[-1]["eval/return"]) > 2.7 > 2.2 > float(rows[0]["return"])


@pytest.mark.parametrize("algorithm", ["A2C", "PPO", "TRPO"])
def test_policy_and_value_have_separate_encoders(tmp_path, algorithm):
    small = ["--horizon", 8, "--iterations", 1, "--evaluate_episodes", 1]
    assert diffsim("fit", "--task", ID, "--algorithm", algorithm, *SMALL, *small, "--run", tmp_path / "run") == 0
    saved = torch.load(RunFolder(tmp_path / "run").checkpoint, weights_only=True)["state_dict"]
    weights = [saved[f"{net}.encoder.network.0.weight"] for net in ("policy", "value")]
    assert weights[0].shape == weights[1].shape and not torch.equal(*weights)
    assert not any(name.startswith("policy.normalizer") for name in saved)


def test_images_are_stored_as_bytes():
    env = make_env(ID, 4)
    policy = CategoricalMLP(env.single_observation_space, env.single_action_space, convolutions=[[2, 4, 2]])
    trajectory, _ = Reinforce(env, policy, baseline="none").episodes()
    assert trajectory.obs.dtype == trajectory.next_obs.dtype == torch.uint8
    assert trajectory.obs.shape == (16, 4, 10, 10) and trajectory.reward.dtype == torch.float32


def pixels(background):
    screen = np.zeros((210, 160, 3), np.uint8)
    screen[..., 0] = background
    screen[:34, :, 0] = 236  # the score, which is cropped
    return screen


def test_the_reduced_image_of_pong_by_hand():
    """Row 35 + 2 i and column 2 j of the screen is pixel (i, j)."""
    screen = pixels(144)
    screen[35 + 2 * 10, 2 * 70, 0] = 92
    screen[35 + 2 * 11 : 35 + 2 * 13, 2 * 8 : 2 * 10, 0] = 213
    screen[35 + 1, :, 0] = 50  # a row that is not kept
    screen[40, 40, 0] = 109  # the other colour of the field
    reduced = small(screen)
    assert reduced.shape == (80, 80) and reduced.dtype == np.int8
    assert np.argwhere(reduced).tolist() == [[10, 70], [11, 8], [11, 9], [12, 8], [12, 9]]


def test_pong_shows_differences_and_has_the_actions_up_and_down():
    pytest.importorskip("ale_py")
    env = gymnasium.make("examples.pong:PongDifference-v5")
    assert env.unwrapped.ale.getFloat("repeat_action_probability") == 0.25  # sticky, as ALE's version 5 has it
    for action, way in ((0, -1), (1, 1)):
        obs, _ = env.reset(seed=3)
        assert env.observation_space.contains(obs) and not obs.any()
        images = [env.step(action)[0] for _ in range(4)]
        assert all(env.observation_space.contains(image) for image in images) and set(np.unique(images)) == {-1, 0, 1}
        paddle = np.stack([image[:, 70] for image in images])
        appears, goes = (np.argwhere(paddle == change)[:, 1].mean() for change in (1, -1))
        assert (appears - goes) * way > 5, "row numbers increase downwards"
    env.close()


def test_pong_is_a_function_of_seed_and_actions():
    pytest.importorskip("ale_py")
    env = make_env("examples.pong:PongDifference-v5", 2, seed=5)
    generator = np.random.default_rng(0)
    for _ in range(40):
        env.step(generator.integers(2, size=2))
    saved, other = env.state_dict(), make_env("examples.pong:PongDifference-v5", 2, seed=5)
    other.load_state_dict(saved)
    for _ in range(10):
        action = generator.integers(2, size=2)
        assert np.array_equal(env.step(action)[0], other.step(action)[0])


class Points(gymnasium.Env):
    """An episode with given rewards."""

    observation_space, action_space = Box(-1.0, 1.0, (1,), np.float64), Discrete(2)
    rewards = (0.0, -1.0, 0.0, 0.0, 1.0)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.age = 0
        return np.zeros(1), {}

    def step(self, action):
        self.age += 1
        return np.zeros(1), self.rewards[self.age - 1], self.age == 5, False, {}


@pytest.mark.parametrize(
    ("until_reward", "expected"),
    [(True, [-0.5, -1.0, 0.25, 0.5, 1.0]), (False, [-0.4375, -0.875, 0.25, 0.5, 1.0])],
)
def test_discounting_restarts_at_each_reward(until_reward, expected):
    """With gamma = 1/2 and until_reward, the reward -1 gives -1/2, -1, and the reward 1 gives 1/4, 1/2, 1. Without
    until_reward, the later reward also counts before the earlier one: -1 + 1/8, and half of that."""
    env = vector(Points, 1)
    policy = CategoricalMLP(env.single_observation_space, env.single_action_space).double()
    options = {"baseline": "none", "scale_weights": False, "gamma": 0.5}
    algorithm = Reinforce(env, policy, until_reward=until_reward, **options)
    trajectory, _ = algorithm.episodes()
    weights = algorithm.weights(trajectory, first_episode(trajectory.ended), None)
    assert weights[:5, 0].tolist() == expected and not weights[5:].any()


def test_the_policys_optimizer_can_be_rmsprop():
    env = vector(Points, 2)
    policy = CategoricalMLP(env.single_observation_space, env.single_action_space)
    optimizers = Reinforce(env, policy, baseline="none", optimizer="rmsprop").optimizers
    assert type(optimizers[0]) is torch.optim.RMSprop and type(optimizers[1]) is torch.optim.Adam


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"until_reward": True}, "until_reward must be false unless .* got true with gpomdp and value"),
        ({"until_reward": True, "estimator": "reinforce", "baseline": "none"}, "got true with reinforce and none"),
        ({"optimizer": "sgd"}, "optimizer must be one of adam, rmsprop, got 'sgd'"),
    ],
)
def test_errors_name_argument_rule_and_value(options, message):
    env = vector(Points, 2)
    with pytest.raises(ValueError, match=message):
        Reinforce(env, CategoricalMLP(env.single_observation_space, env.single_action_space), **options)
