"""A replay buffer of images equals one of numbers, in a fifth of the memory or less; its size is known before."""

import pytest
import torch

from diffsim.policies import DiscreteQMLP
from diffsim.trainers.errors import OptionError
from diffsim.trainers.experience import storage
from diffsim.trainers.experience.replay_buffer import ReplayBuffer
from diffsim.trainers.value_gradient.dqn import DQN
from tests.trainers.q_learners import generator, run
from tests.trainers.running import assert_resumes_exactly
from tests.trainers.small_envs import vector
from tests.trainers.test_images import Brighter

FIELDS = {"obs": (2, 3), "action": (), "next_obs": (2, 3)}
ATARI = {"obs": (4, 84, 84), "action": (), "next_obs": (4, 84, 84)}


def steps(count, num_envs, rate, seed=0):
    """Steps of copies whose episodes end at a rate; sometimes an episode is left before its end."""
    random = generator(seed)

    def image():
        return torch.randint(256, (num_envs, 2, 3), generator=random, dtype=torch.uint8)

    obs = image()
    for time in range(count):
        next_obs, ended = image(), torch.rand(num_envs, generator=random) < rate
        number = torch.full((num_envs,), float(time))
        flags = {"terminated": ended & (number % 2 == 0), "truncated": ended & (number % 2 == 1)}
        yield {"obs": obs, "action": number, "next_obs": next_obs, "reward": number, **flags}
        obs = torch.where((ended | (number == 7))[:, None, None], image(), next_obs)


def filled(count, num_envs=2, rate=0.3, capacity=20, images=torch.uint8, **kwargs):
    replay = ReplayBuffer(capacity, num_envs, FIELDS, images=images, gamma=0.9, **kwargs)
    for step in steps(count, num_envs, rate):
        replay.add(step)
    return replay


def assert_same(one, two):
    assert one.obs.dtype == torch.uint8 and two.obs.dtype == torch.float32
    for a, b in zip(one, two, strict=True):
        assert torch.equal(a.float(), b)


@pytest.mark.parametrize(("capacity", "count"), [(20, 1), (20, 6), (20, 10), (20, 37), (2, 5), (400, 120)])
@pytest.mark.parametrize("rate", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("num_steps", [1, 3])
def test_batches_equal_those_of_numbers(capacity, count, rate, num_steps):
    options = {"rate": rate, "capacity": capacity, "num_steps": num_steps}
    images, numbers = filled(count, **options), filled(count, images=None, **options)
    assert_same(images.sample(300, generator()), numbers.sample(300, generator()))
    assert images.images.end - images.images.first <= len(images) and images.width == 4


@pytest.mark.parametrize("logged", [False, True])
def test_a_restored_buffer_continues_equally(logged, tmp_path):
    folder = tmp_path if logged else None
    first, numbers = filled(0, memory_limit=0, folder=folder), filled(0, images=None)
    for time, step in enumerate(steps(45, 2, 0.3)):
        if time in (4, 13, 31):
            saved = first.state_dict()
            assert ("rows" in saved) != logged and ("images" in saved["images"]) != logged
            first = filled(0, folder=folder)
            first.load_state_dict(saved)
            assert_same(first.sample(100, generator()), numbers.sample(100, generator()))
        first.add(step)
        numbers.add(step)
    assert_same(first.sample(100, generator()), numbers.sample(100, generator()))


def test_images_of_atari_are_stored_once_as_bytes():
    """4 * 84 * 84 bytes for each of 10^6 steps are 26.3 GiB; twice as float32 they are 210.3 GiB."""
    assert round(ReplayBuffer(1_000_000, 1, ATARI, images=torch.uint8).images.bytes / 2**30, 1) == 26.3
    assert round(ReplayBuffer(1_000_000, 1, ATARI).width * 4e6 / 2**30, 1) == 210.3


def test_the_size_is_said_before_the_run_and_refused_where_there_is_no_room(tmp_path, monkeypatch):
    replay = ReplayBuffer(1_000_000, 1, ATARI, images=torch.uint8)
    monkeypatch.setattr(storage, "free_disk", lambda folder: 60 * 2**30)
    said = "replay buffer: 1,000,000 steps, 26.3 GiB on disk, and as much in the run folder"
    assert replay.announce(tmp_path) == said
    monkeypatch.setattr(storage, "free_disk", lambda folder: 50 * 2**30)
    with pytest.raises(OptionError, match="replay_size must be smaller: 1,000,000 needs 52.6 GiB on the disk of"):
        replay.announce(tmp_path)
    small = ReplayBuffer(10_000, 1, ATARI, images=torch.uint8)
    assert "269.3 MiB in memory" in small.announce(tmp_path)
    monkeypatch.setattr(storage, "free_memory", lambda: 200 * 2**20)
    with pytest.raises(OptionError, match="10,000 needs 269.3 MiB of memory, where 200.0 MiB are free"):
        small.announce(tmp_path)
    with pytest.raises(OptionError, match="replay_size must be smaller: 10,000,000 needs 305.2 MiB of memory, where"):
        ReplayBuffer(10**7, 1, FIELDS)


def test_free_space_is_that_of_the_system(tmp_path):
    """The files of a run that is resumed count as free: its log is there already."""
    (tmp_path / "log").write_bytes(bytes(1000))
    assert storage.free_disk(tmp_path) == pytest.approx(storage.free_disk(tmp_path / "new" / "run") + 1000, rel=1e-2)
    assert 2**20 < storage.free_memory() < 2**50
    assert [storage.in_units(count) for count in (1, 2048, 3 * 2**39)] == ["1.0 bytes", "2.0 KiB", "1.5 TiB"]


def test_dqn_resumes_exactly_from_images(tmp_path):
    def fresh():
        torch.manual_seed(0)
        options = {"hidden_sizes": (8,), "convolutions": [[2, 4, 4]]}
        env = vector(Brighter, 2)
        policy = DiscreteQMLP(env.single_observation_space, env.single_action_space, **options).double()
        return DQN(env, policy, steps=12, warmup_steps=9, batch_size=8, replay_size=30)

    algorithm = fresh()
    assert algorithm.replay.images.dtype == torch.uint8
    assert_resumes_exactly(run, fresh, tmp_path, "policy.network")
