"""Data: order of episodes, splits by whole episodes, windows, files, and errors."""

import json

import h5py
import minari
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box

from diffsim.models import Data, DataError, Moments, Statistics, from_windows, load_data, save_data
from tests.models.linear_system import linear_model, system_data

OBS, ACTION = Box(-np.inf, np.inf, (2,), np.float64), Box(-2.0, 2.0, (1,), np.float32)


def counted():
    """Two copies, four steps; copy 0 terminates at the second step, copy 1 is truncated at the third."""
    time = torch.arange(4.0)[:, None].expand(4, 2)
    obs = torch.stack([time, torch.tensor([0.0, 100.0]).expand(4, 2)], dim=-1)
    no = torch.zeros(4, 2, dtype=torch.bool)
    terminated, truncated = no.clone(), no.clone()
    terminated[1, 0], truncated[2, 1] = True, True
    return from_windows(obs, time[..., None], 10 * time, obs + 1.0, terminated, truncated)


def test_windows_become_episodes_copy_by_copy():
    data = counted()
    assert data.obs[:, 0].tolist() == [0, 1, 2, 3, 0, 1, 2, 3]
    assert data.obs[:, 1].tolist() == [0] * 4 + [100] * 4
    assert data.episode.tolist() == [0, 0, 1, 1, 2, 2, 2, 3]
    assert data.terminated.tolist() == [False, True] + [False] * 6
    assert data.episode_starts().tolist() == [0, 2, 4, 7]


def test_starts_are_followed_by_complete_windows():
    data = counted()
    assert data.starts(1).tolist() == list(range(8))
    assert data.starts(2).tolist() == [0, 2, 4, 5]
    assert data.starts(3).tolist() == [4]
    assert data.starts(4).tolist() == data.starts(9).tolist() == []


def test_mask_of_a_window_marks_the_steps_of_its_episode():
    fields, valid = counted().sequences(torch.tensor([4, 6, 7]), 2)
    assert fields["reward"].tolist() == [[0, 20, 30], [10, 30, 30]]
    assert valid.tolist() == [[True, True, True], [True, False, False]]


def test_split_is_by_episode_and_complete():
    data = system_data(200)
    train, validation = data.split(0.25, torch.Generator().manual_seed(1))
    names = set(train.episode.tolist()), set(validation.episode.tolist())
    assert not names[0] & names[1] and len(names[0]) == 30 and len(names[1]) == 10
    assert len(train) + len(validation) == len(data)


def test_parts_of_a_mask_are_those_of_the_mask_and_of_its_opposite():
    data, chosen = counted(), torch.tensor([1, 0, 0, 1, 0, 1, 1, 0]).bool()
    for part, mask in zip(data.parted(chosen), (~chosen, chosen), strict=True):
        expected = {name: value[mask] for name, value in data.tensors().items()}
        torch.testing.assert_close(part.tensors(), expected, rtol=0, atol=0, equal_nan=True)


def test_transitions_out_of_order_are_refused():
    with pytest.raises(ValueError, match="episode must be non-decreasing"):
        counted()[torch.tensor([4, 1])]


def test_extended_keeps_episodes_apart():
    data = counted().extended(counted())
    assert data.episode.tolist() == [0, 0, 1, 1, 2, 2, 2, 3, 4, 4, 5, 5, 6, 6, 6, 7]


def test_statistics_by_hand():
    moments = Moments.of(torch.tensor([[1.0, 5.0], [3.0, 5.0]]))
    assert moments.mean.tolist() == [2.0, 5.0] and moments.std.tolist() == [1.0, 1.0]  # a constant has deviation 1
    statistics = Statistics.of(counted())
    assert statistics.change.mean.tolist() == [1.0, 1.0] and statistics.reward.mean.tolist() == [15.0]


def saved(tmp_path, data=None):
    folder = tmp_path / "linear"
    data = system_data(60) if data is None else data
    save_data(folder, data, observation_space=OBS, action_space=ACTION, task="linear", validation_share=0.25)
    return folder, data


def test_saved_data_are_loaded_bit_for_bit(tmp_path):
    folder, data = saved(tmp_path)
    stored = load_data(folder)
    for name, value in data.tensors().items():
        assert torch.equal(stored.data.tensors()[name].nan_to_num(7.0), value.nan_to_num(7.0)), name
    train, validation = stored.split()
    assert len(validation.episode.unique()) == 3 and len(train) + len(validation) == 60
    assert stored.observation_space == OBS and stored.action_space == ACTION and stored.task == "linear"
    kept = json.loads((folder / "data" / "metadata.json").read_text())["statistics"]
    assert kept["obs"]["mean"] == pytest.approx(train.obs.mean(0).tolist())


def test_minari_reads_saved_data(tmp_path):
    folder, data = saved(tmp_path)
    dataset = minari.MinariDataset(folder / "data")
    assert dataset.total_episodes == 12 and dataset.total_steps == 60
    episode = dataset[3]
    assert np.array_equal(episode.observations[:-1], data.obs[15:20].numpy())
    assert np.array_equal(episode.observations[1:], data.next_obs[15:20].numpy())
    assert np.array_equal(episode.actions, data.action[15:20].numpy()) and episode.truncations.tolist()[-1]


def test_termination_is_distinguished_from_truncation(tmp_path):
    folder, data = saved(tmp_path, counted())
    assert torch.equal(load_data(folder).data.terminated, data.terminated)


def rewrite(folder, change):
    with h5py.File(folder / "data" / "main_data.hdf5", "a") as file:
        change(file)


def replaced(file, name, array):
    del file[name]
    file[name] = array


def nan(file):
    file["episode_3/observations"][2, 1] = np.nan


def wrong_shape(file):
    replaced(file, "episode_3/actions", np.zeros((5, 2)))


def wrong_length(file):
    replaced(file, "episode_3/rewards", np.zeros(4))


def other_task(file):
    for name in file:
        replaced(file, f"{name}/observations", np.zeros((6, 3)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (nan, "obs must be finite, got .*nan.* in transition 17, in episode 3; in .*data"),
        (wrong_shape, "all the input array dimensions except .* must match exactly|action must have"),
        (wrong_length, "episode 3 must have T >= 1 actions and rewards and T \\+ 1 observations, got 5, 4 and 6"),
        (other_task, "obs must have size 2, that of the space, got 3"),
    ],
)
def test_errors_name_bad_files_and_do_not_change_them(tmp_path, change, message):
    folder, _ = saved(tmp_path)
    rewrite(folder, change)
    before = (folder / "data" / "main_data.hdf5").read_bytes()
    with pytest.raises(DataError, match=message):
        load_data(folder)
    assert (folder / "data" / "main_data.hdf5").read_bytes() == before


def test_a_truncated_file_is_refused(tmp_path):
    folder, _ = saved(tmp_path)
    path = folder / "data" / "main_data.hdf5"
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(DataError, match="data must be complete and undamaged, got .*data"):
        load_data(folder)
    assert path.stat().st_size == 3000


def test_a_folder_without_data_is_refused(tmp_path):
    with pytest.raises(DataError, match="data must be a folder that diffsim collect or Minari wrote"):
        load_data(tmp_path)


def test_an_empty_split_is_refused(tmp_path):
    folder, _ = saved(tmp_path)
    path = folder / "data" / "metadata.json"
    metadata = json.loads(path.read_text())
    path.write_text(json.dumps({**metadata, "validation_episodes": list(range(12))}))
    with pytest.raises(DataError, match="each split must have >= 1 transition, got 0 for training, 60 for validation"):
        load_data(folder)
    with pytest.raises(ValueError, match="data must have >= 2 episodes.*got 1; collect more steps"):
        saved(tmp_path / "one", system_data(5, episode_length=5))
    assert not (tmp_path / "one").exists()


def test_existing_folders_are_not_overwritten(tmp_path):
    folder, data = saved(tmp_path)
    with pytest.raises(FileExistsError, match="output must be a folder that does not exist yet"):
        saved(tmp_path, system_data(40, seed=3))
    assert len(load_data(folder).data) == len(data)
    assert [path.name for path in tmp_path.iterdir()] == ["linear"]


def test_inconsistent_data_are_refused():
    parts = counted().tensors()
    with pytest.raises(ValueError, match=r"action must have shape \[8, A\], got \[7, 1\]"):
        Data(**{**parts, "action": parts["action"][:-1]})
    with pytest.raises(ValueError, match=r"reward must be finite, got nan in transition 5, in episode 2"):
        Data(**{**parts, "reward": parts["reward"].index_fill(0, torch.tensor([5]), torch.nan)})
    with pytest.raises(ValueError, match="episode must be non-decreasing"):
        Data(**{**parts, "episode": parts["episode"].flip(0)})


def test_a_model_refuses_another_tasks_data():
    parts = counted().tensors()
    other = Data(**{**parts, "obs": torch.zeros(8, 3), "next_obs": torch.zeros(8, 3)})
    with pytest.raises(
        ValueError, match="obs must have size 2, that of the model, got 3: the data are of another task"
    ):
        linear_model().check(other)
