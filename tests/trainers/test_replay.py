"""The replay buffer against its definition in plain Python; its log, truncated in several ways."""

from pathlib import Path

import numpy as np
import pytest
import torch

from diffsim.trainers.errors import CheckpointError
from diffsim.trainers.experience.episode_index import StepIndex
from diffsim.trainers.experience.replay_buffer import ReplayBuffer
from diffsim.trainers.experience.row_log import RowLog
from tests.trainers.q_learners import generator

FIELDS = {"obs": (2,), "action": (1,), "next_obs": (2,)}
ENDS = {0: [(3, "terminated"), (7, "truncated"), (8, "terminated"), (11, "truncated")], 1: [(5, "truncated")]}
"""By copy: the times at which episodes end, and whether they terminate or are truncated."""


def step(time, num_envs=2):
    """The step of each copy at `time`; every number encodes its copy and time."""
    at = torch.tensor([[100.0 * copy + time] for copy in range(num_envs)])
    ends = {kind: torch.tensor([(time, kind) in ENDS[copy] for copy in range(num_envs)]) for kind in KINDS}
    return {"obs": torch.cat([at, -at], 1), "action": at / 2, "next_obs": torch.cat([at + 0.5, at], 1)} | {
        "reward": 1.0 + at[:, 0] ** 2,
        **ends,
    }


KINDS = ("terminated", "truncated")


def filled(count, capacity=20, **kwargs):
    replay = ReplayBuffer(capacity, 2, FIELDS, **kwargs)
    for time in range(count):
        replay.add(step(time))
    return replay


def ends(copy, time):
    return [kind for end, kind in ENDS[copy] if end == time]


def by_hand(time, copy, num_steps, gamma, newest):
    """The n-step sample of (time, copy), computed step by step."""
    reward, weight = 0.0, 1.0
    for t in range(time, time + num_steps):
        reward += weight * (1.0 + (100.0 * copy + t) ** 2)
        weight *= gamma
        if ends(copy, t) or t == newest:
            break
    return reward, 100.0 * copy + t + 0.5, 0.0 if "terminated" in ends(copy, t) else weight


@pytest.mark.parametrize("count", [1, 4, 9, 10, 11, 13, 25])
@pytest.mark.parametrize("num_steps", [1, 3, 30])
def test_samples_equal_their_definition(count, num_steps):
    replay = filled(count, num_steps=num_steps, gamma=0.9, dtype=torch.float64)
    batch = replay.sample(500, generator())
    times, copies = (batch.obs[:, 0] % 100).long().tolist(), (batch.obs[:, 0] // 100).long().tolist()
    assert set(times) == set(range(max(count - 10, 0), count)), "only the last 10 steps of each copy"
    assert torch.equal(batch.obs[:, 0], 2 * batch.action[:, 0]) and torch.equal(batch.obs[:, 1], -batch.obs[:, 0])
    for i, (time, copy) in enumerate(zip(times, copies, strict=True)):
        reward, next_obs, discount = by_hand(time, copy, num_steps, 0.9, count - 1)
        assert batch.reward[i].item() == pytest.approx(reward, rel=1e-12)
        assert batch.next_obs[i, 0].item() == next_obs
        assert batch.discount[i].item() == pytest.approx(discount, rel=1e-12)


def test_discount_is_zero_after_a_termination_and_not_after_a_time_out():
    """Copy 0 terminates at 3 and times out at 7. No sample includes rewards of the next episode."""
    replay = filled(10, num_steps=2, gamma=0.5)
    batch = replay.sample(400, generator())
    parts = zip(batch.obs[:, 0], batch.reward, batch.next_obs[:, 0], batch.discount, strict=True)
    found = {int(obs): tuple(number.item() for number in rest) for obs, *rest in parts}
    assert found[2] == (1 + 4 + 0.5 * (1 + 9), 3.5, 0.0)
    assert found[3] == (1 + 9, 3.5, 0.0)
    assert found[6] == (1 + 36 + 0.5 * (1 + 49), 7.5, 0.25)
    assert found[7] == (1 + 49, 7.5, 0.5)


def test_steps_are_sampled_uniformly():
    """Chi-square with 19 degrees of freedom: below 43.8 with probability 0.999."""
    replay = filled(13)
    steps = replay.draw(20_000, generator())
    counts = torch.bincount((steps.time - 3) * 2 + steps.copy, minlength=20)
    assert len(counts) == 20 and ((counts - 1000).square() / 1000).sum() < 43.8


@pytest.mark.parametrize("count", [3, 4, 9, 10, 13, 19, 40])
def test_bounds_of_episodes(count):
    replay = filled(count)
    for copy in (0, 1):
        for time in range(max(count - 10, 0), count):
            first = max([0, count - 10, *(end + 1 for end, _ in ENDS[copy] if end < time)])
            last = min([count - 1, *(end for end, _ in ENDS[copy] if end >= time)])
            found = replay.bounds(StepIndex(torch.tensor([time]), torch.tensor([copy])))
            assert [bound.item() for bound in found] == [first, last], (copy, time)


def test_fields_keep_their_shapes():
    replay = ReplayBuffer(6, 3, {"picture": (2, 2), "goal": (1,), "level": ()})
    picture = torch.arange(12.0).view(3, 2, 2)
    flags = {name: torch.zeros(3, dtype=torch.bool) for name in KINDS}
    replay.add(
        {"picture": picture, "goal": torch.ones(3, 1), "level": torch.arange(3), "reward": torch.ones(3), **flags}
    )
    found = replay.read(StepIndex(torch.tensor([0, 0]), torch.tensor([2, 1])))
    assert torch.equal(found["picture"], picture[[2, 1]]) and found["level"].tolist() == [2, 1]
    assert replay.field("picture").shape == (2, 3, 2, 2) and found["goal"].shape == (2, 1)


def test_messages_name_argument_rule_and_value():
    with pytest.raises(ValueError, match="replay_size must be >= num_envs = 2, got 1"):
        ReplayBuffer(1, 2, FIELDS)
    with pytest.raises(ValueError, match="num_steps must be >= 1, got 0"):
        ReplayBuffer(10, 2, FIELDS, num_steps=0)
    with pytest.raises(ValueError, match=r"gamma must be in \(0, 1\], got 1.5"):
        ReplayBuffer(10, 2, FIELDS, gamma=1.5)
    replay = ReplayBuffer(10, 2, FIELDS)
    with pytest.raises(ValueError, match="replay must hold at least one step, got none"):
        replay.sample(1, generator())
    with pytest.raises(ValueError, match="fields must be obs, action, next_obs, reward, .*, got obs"):
        replay.add({"obs": torch.zeros(2, 2)})
    with pytest.raises(ValueError, match=r"action must be \[2, 1\], got \[2\]"):
        replay.add(step(0) | {"action": torch.zeros(2)})


def same(one, two):
    assert one.count == two.count and one.kept == two.kept
    for left, right in zip(one.sample(300, generator(5)), two.sample(300, generator(5)), strict=True):
        assert torch.equal(left, right)
    steps = one.draw(300, generator(6))
    for left, right in zip(one.bounds(steps), two.bounds(steps), strict=True):
        assert torch.equal(left, right)


@pytest.mark.parametrize("logged", [False, True])
@pytest.mark.parametrize("count", [1, 8, 10, 13, 25])
def test_a_restored_buffer_gives_the_same_samples_and_continues_the_same(tmp_path, logged, count):
    folder = tmp_path / "replay" if logged else None
    replay = filled(count, num_steps=3, folder=folder)
    saved = replay.state_dict()
    assert ("rows" in saved) != logged
    other = ReplayBuffer(20, 2, FIELDS, num_steps=3, folder=folder)
    other.load_state_dict(saved)
    same(replay, other)
    for time in range(count, count + 15):
        replay.add(step(time))
        other.add(step(time))
        same(replay, other)


def test_each_row_is_written_once_and_old_files_are_deleted(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "diffsim.trainers.experience.row_log.SEGMENT_BYTES", 2 * 8 * 4 * 3
    )  # three steps of both copies per file
    replay, written = filled(0, folder=tmp_path), []
    plain = RowLog.write

    def write(log, first, rows):
        written.extend(range(first, first + len(rows)))
        plain(log, first, rows)

    monkeypatch.setattr(RowLog, "write", write)
    for time in range(40):
        replay.add(step(time))
        if time % 5 == 4:
            replay.state_dict()
    assert written == list(range(40))
    kept = sorted(int(path.stem) for path in tmp_path.glob("*.rows"))
    assert kept == list(range(8, 14)), "from step 25 on: what the previous checkpoint needs"


def test_a_checkpoint_stays_readable_after_later_writes(tmp_path, monkeypatch):
    """Later writes delete old files and are interrupted; the last complete checkpoint is restored unchanged."""
    monkeypatch.setattr("diffsim.trainers.experience.row_log.SEGMENT_BYTES", 2 * 8 * 4 * 3)
    replay = filled(17, folder=tmp_path)
    replay.state_dict()
    for time in range(17, 25):
        replay.add(step(time))
    complete = replay.state_dict()
    for time in range(25, 60):
        replay.add(step(time))
    replay.state_dict()  # its checkpoint was never completed
    last = max(tmp_path.glob("*.rows"))
    last.write_bytes(last.read_bytes()[:17])
    other = ReplayBuffer(20, 2, FIELDS, folder=tmp_path)
    other.load_state_dict(complete)
    same(other, filled(25))
    other.add(step(25))
    again = ReplayBuffer(20, 2, FIELDS, folder=tmp_path)
    again.load_state_dict(other.state_dict())
    same(again, filled(26))


def test_a_log_with_missing_rows_is_refused(tmp_path):
    saved = filled(25, folder=tmp_path).state_dict()
    (path,) = tmp_path.glob("*.rows")
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match="replay must hold rows 15 to 24, as its checkpoint says"):
        ReplayBuffer(20, 2, FIELDS, folder=tmp_path).load_state_dict(saved)
    path.unlink()
    with pytest.raises(CheckpointError, match="replay must hold rows 15 to 24"):
        ReplayBuffer(20, 2, FIELDS, folder=tmp_path).load_state_dict(saved)
    with pytest.raises(CheckpointError, match="must be given the folder of its run"):
        ReplayBuffer(20, 2, FIELDS).load_state_dict(saved)


def mapped(folder):
    """Number of files of `folder` that this process has mapped into memory."""
    return sum(str(folder) in line for line in Path("/proc/self/maps").read_text().splitlines())


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="only Linux lists memory maps")
def test_above_the_limit_rows_are_in_an_unnamed_file(tmp_path):
    small = filled(13, folder=tmp_path)
    size = 10 * 2 * small.width * 4
    large = filled(13, folder=tmp_path, memory_limit=size - 1)
    same(small, large)
    assert mapped(tmp_path) == 1 and not list(tmp_path.iterdir())
    another = filled(13, folder=tmp_path, memory_limit=size)
    assert mapped(tmp_path) == 1, "negative control: within the limit"
    same(small, another)


def test_row_log_across_files(tmp_path):
    log = RowLog(tmp_path, 3, np.dtype("float32"))
    log.segment = 4
    rows = np.arange(33, dtype=np.float32).reshape(11, 3)
    log.write(0, rows[:6])
    log.write(6, rows[6:])
    assert np.array_equal(log.read(0, 11), rows) and np.array_equal(log.read(3, 9), rows[3:9])
    assert [path.stat().st_size for path in sorted(tmp_path.iterdir())] == [48, 48, 36]
    log.write(9, rows[:1])
    assert np.array_equal(log.read(8, 11), rows[[8, 0, 10]])
    log.delete_before(8)
    assert np.array_equal(log.read(8, 9), rows[8:9]) and len(list(tmp_path.iterdir())) == 1
