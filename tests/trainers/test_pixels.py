"""Continuous control from images: shared encoders, random shifts, images of environments, and a killed run."""

import signal
import subprocess
import sys
import time

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box

from diffsim.policies import DeterministicMLP, GaussianMLP
from diffsim.trainers.experience.pixels import PixelOptions, channels_first, pixel_env
from diffsim.trainers.experience.random_shift import random_shift
from diffsim.trainers.experience.replay_buffer import ReplayBuffer
from diffsim.trainers.experience.vector_env import make_env
from diffsim.trainers.run.arguments import parse_fit
from diffsim.trainers.run.run_folder import RunFolder
from diffsim.trainers.value_gradient.ddpg import DDPG
from diffsim.trainers.value_gradient.sac import SAC
from diffsim.trainers.value_gradient.td3 import TD3
from tests.trainers.commands import diffsim, metrics
from tests.trainers.q_learners import generator
from tests.trainers.small_envs import vector


class Level(gymnasium.Env):
    """Three steps. All bytes of an 8 x 8 image are near a level; the reward is minus the action's squared error."""

    observation_space = Box(0, 255, (8, 8), np.uint8)
    action_space = Box(-1.0, 1.0, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.age = 0
        return self._image(), {}

    def step(self, action):
        reward = -float((action[0] - self.level) ** 2)
        self.age += 1
        return self._image(), reward, self.age == 3, False, {}

    def _image(self):
        self.level = self.np_random.uniform(-0.8, 0.8)
        return (127 + 100 * self.level + self.np_random.integers(-9, 9, (8, 8))).astype(np.uint8)


gymnasium.register("Level-v0", Level)
ID = "tests.trainers.test_pixels:Level-v0"
SMALL = {"hidden_sizes": (16,), "convolutions": [[4, 4, 4]]}
FAST = {"warmup_steps": 20, "batch_size": 16, "replay_size": 200, "critic_hidden_sizes": (16,)}
LEARNERS = {DDPG: DeterministicMLP, TD3: DeterministicMLP, SAC: GaussianMLP}


def learner(cls, **options):
    torch.manual_seed(0)
    env = vector(Level, 2)
    own = {"std": "state"} if cls is SAC else {}
    policy = LEARNERS[cls](env.single_observation_space, env.single_action_space, **SMALL, **own).double()
    return cls(env, policy, **{"steps": 24, **FAST, **options})


@pytest.mark.parametrize("cls", LEARNERS)
def test_the_critic_alone_trains_a_shared_encoder(cls):
    """With a policy that cannot learn, the encoder still does; with a critic that cannot, it does not."""
    for still, changes in (("learning_rate", True), ("critic_learning_rate", False)):
        algorithm = learner(cls, share_encoder=True, **{still: 1e-300})
        encoder = algorithm.policy.encoder
        assert algorithm.critic.encoder is encoder
        before, head = encoder.network[0].weight.clone(), algorithm.policy.network[0].weight.clone()
        algorithm.iterate()
        assert algorithm.updates > 0 and torch.equal(encoder.network[0].weight, before) != changes
        assert torch.equal(algorithm.policy.network[0].weight, head) == changes


@pytest.mark.parametrize("cls", LEARNERS)
def test_shared_features_give_the_losses_of_separate_passes(cls):
    """The first update's critic loss is that of the images, each encoded by the network that uses it."""
    algorithm = learner(cls, share_encoder=True)
    algorithm.collect_and_learn(20)
    batch = algorithm.batch()
    encoded = algorithm.encoded(batch, algorithm.target_critic)
    assert encoded.obs.requires_grad and not encoded.next_obs.requires_grad
    action = batch.action
    torch.testing.assert_close(algorithm.critic(batch.obs, action), algorithm.critic(encoded.obs, action))
    noise = (torch.zeros(16, 1).double(),) if cls is SAC else ()
    one, two = (algorithm.policy(obs, *noise) for obs in (batch.obs, encoded.obs))
    torch.testing.assert_close(one, two)


@pytest.mark.parametrize("algorithm", ["DDPG", "TD3", "SAC"])
def test_continuous_actions_are_learned_from_images(tmp_path, algorithm):
    """The action 0 gets -0.64 / 3 * 3 = -0.64 in three steps, and random actions -1.64."""
    words = ["--task", ID, "--algorithm", algorithm, "--share_encoder", True, "--hidden_sizes", "[32]"]
    words += ["--critic_hidden_sizes", "[32]", "--convolutions", "[[8,4,4]]", "--learning_rate", 3e-3, "--steps", 700]
    words += ["--critic_learning_rate", 3e-3, "--warmup_steps", 100, "--batch_size", 32, "--replay_size", 700]
    words += ["--iterations", 1, "--target_rate", 0.9, "--final_episodes", 20, "--gamma", 0.1, "--evaluate_every", 1]
    assert diffsim("fit", *words, "--run", tmp_path / "run") == 0
    assert float(metrics(tmp_path / "run")[-1]["eval/return"]) > -0.2


def test_sharing_and_shifts_need_images():
    env = vector(lambda: gymnasium.make("Pendulum-v1"), 1)
    policy = DeterministicMLP(env.single_observation_space, env.single_action_space)
    for options in ({"share_encoder": True}, {"random_shift": 4}):
        (name,) = options
        with pytest.raises(ValueError, match=f"{name} must be false or 0 unless observations are images, got"):
            DDPG(env, policy, **options)


@pytest.mark.parametrize("shape", [(5, 7), (2, 5, 7), (5, 7, 2)])
def test_random_shifts_are_crops_of_padded_images(shape):
    """Against torch's replicate padding: every result is one of the 25 crops, and all of them occur."""
    last = shape[-1] == 2
    images = torch.randint(256, (400, *shape), generator=generator(), dtype=torch.uint8)
    images[1:] = images[0]
    shifted = random_shift(images, 2, generator(), channels_last=last)
    assert shifted.shape == images.shape and shifted.dtype == torch.uint8
    first = images[0].movedim(-1, 0) if last else images[0]
    padded = torch.nn.functional.pad(first.reshape(1, -1, 5, 7).float(), (2, 2, 2, 2), mode="replicate")[0]
    crops = [padded[:, i : i + 5, j : j + 7] for i in range(5) for j in range(5)]
    found = [image.movedim(-1, 0) if last else image.reshape(-1, 5, 7) for image in shifted.float()]
    which = [next(k for k, crop in enumerate(crops) if torch.equal(crop, image)) for image in found]
    assert set(which) == set(range(25))
    assert torch.equal(random_shift(images, 0, generator(), channels_last=last), images)


def test_shifts_reach_the_batches():
    algorithm = learner(DDPG, random_shift=2)
    algorithm.collect_and_learn(20)
    stored = algorithm.replay.images.ring.flatten(1)
    batch = algorithm.batch()
    same = (batch.obs.flatten(1)[:, None] == stored.reshape(1, -1, 64)).all(-1).any(1)
    assert batch.obs.dtype == torch.uint8 and 0 < same.sum() < len(same) or not same.any()


class Counter(gymnasium.Env):
    """Its picture shows its age, and its reward is 1; it ends after seven steps."""

    observation_space, action_space = Box(-1.0, 1.0, (1,)), Box(-1.0, 1.0, (1,))
    metadata = {"render_modes": ["rgb_array"], "render_fps": 1}

    def __init__(self, render_mode=None):
        self.render_mode = render_mode

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.age = 0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.age += 1
        return np.zeros(1, np.float32), 1.0, self.age == 7, False, {}

    def render(self):
        return np.full((20, 30, 3), (10 * self.age, 0, 255), np.uint8)


gymnasium.register("Counter-v0", Counter)
COUNTER = "tests.trainers.test_pixels:Counter-v0"


def test_pixels_are_stacked_pictures_after_repeated_actions():
    """Ages 0, 3 and 6 after two steps of three; the last step has one left."""
    pytest.importorskip("cv2")
    pytest.importorskip("pygame")
    env = pixel_env(COUNTER, PixelOptions(True, screen_size=4, stack_size=3, action_repeat=3))
    obs, _ = env.reset(seed=0)
    assert obs.shape == env.observation_space.shape == (9, 4, 4) and env.observation_space.contains(obs)
    rewards = []
    for _ in range(2):
        obs, reward, terminated, _, _ = env.step(np.zeros(1))
        rewards.append(reward)
    assert obs[:, 0, 0].tolist() == [0, 0, 255, 30, 0, 255, 60, 0, 255] and rewards == [3, 3] and not terminated
    obs, reward, terminated, _, _ = env.step(np.zeros(1))
    assert reward == 1 and terminated and obs[6, 0, 0] == 70
    frames = np.arange(2 * 5 * 6 * 3).reshape(2, 5, 6, 3)
    assert channels_first(frames)[4, 2, 3] == frames[1, 2, 3, 1]


def test_pixels_are_an_option_of_the_task_with_defaults_of_its_own():
    pytest.importorskip("cv2")
    env = make_env(COUNTER, 2, pixels=True, screen_size=4, grayscale=True, action_repeat=3)
    assert env.single_observation_space.shape == (3, 4, 4) and env.frames_per_step == 3
    given = ["--task", "Pendulum-v1", "--algorithm", "SAC", "--task_kwargs", '{"pixels": true}']
    assert parse_fit(given).share_encoder and parse_fit(given).random_shift == 4
    assert not parse_fit(given[:4]).share_encoder and parse_fit([*given, "--random_shift", "2"]).random_shift == 2
    with pytest.raises(ValueError, match="action_repeat must be >= 1, got 0"):
        make_env(COUNTER, 1, pixels=True, action_repeat=0)


def test_mujoco_draws_a_task_in_the_size_of_its_images_without_shadows():
    """The hopper falls, so that its picture changes."""
    pytest.importorskip("cv2")
    try:
        env = pixel_env("Hopper-v5", PixelOptions(True, screen_size=40, stack_size=1))
        obs, _ = env.reset(seed=0)
    except Exception as error:  # each OpenGL library has its own
        pytest.skip(f"no OpenGL: {error}")
    model = env.unwrapped.model
    assert obs.shape == (3, 40, 40) and obs.std() > 10
    assert model.vis.quality.shadowsize == 0 and not model.mat_reflectance.any()
    seen = [env.step(np.zeros(3))[0] for _ in range(8)]
    assert (seen[-1] != obs).any()
    env.close()


MAPPED = """
import sys
from diffsim.trainers.experience.replay_buffer import ReplayBuffer
ReplayBuffer.__init__.__kwdefaults__["memory_limit"] = 0
from diffsim.trainers.cli import main
sys.exit(main(sys.argv[1:]))
"""


def test_a_killed_run_with_a_mapped_buffer_continues_to_the_bit(tmp_path, monkeypatch):
    """SIGKILL between two checkpoints: the last one is complete, and its images are in the log."""
    monkeypatch.setitem(ReplayBuffer.__init__.__kwdefaults__, "memory_limit", 0)
    words = ["--task", ID, "--algorithm", "DDPG", "--share_encoder", "true", "--random_shift", 1, "--steps", 40]
    words += ["--hidden_sizes", "[8]", "--critic_hidden_sizes", "[8]", "--convolutions", "[[4,4,4]]", "--seed", 3]
    words += ["--warmup_steps", 30, "--batch_size", 8, "--replay_size", 60, "--evaluate_every", 2]
    words += ["--evaluate_episodes", 1, "--final_episodes", 1, "--logger", "csv"]
    whole, killed = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "killed")
    command = ["fit", *words, "--iterations", 10_000, "--run", killed.path]
    process = subprocess.Popen([sys.executable, "-c", MAPPED, *map(str, command)])
    while not killed.checkpoint.exists() or len(killed.metrics.read_text().splitlines()) < 4:
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    last = torch.load(killed.checkpoint, weights_only=True)["diffsim"]["iteration"] + 3
    assert diffsim("fit", "--resume", killed.path, "--iterations", last) == 0
    assert diffsim("fit", *words, "--iterations", last, "--run", whole.path) == 0
    one, two = (torch.load(run.checkpoint, weights_only=True)["state_dict"] for run in (killed, whole))
    assert one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)
