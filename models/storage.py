"""Data on disk in Minari's format: an HDF5 file and a JSON file. Other libraries can read it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box

from diffsim.models.data import Data, validation_episodes
from diffsim.models.statistics import Statistics


class DataError(ValueError):
    """Stored data cannot be used; the message names the file and the reason. The file is not changed."""


@dataclass(frozen=True)
class StoredData:
    """Data and their metadata.

    Attributes:
        data: all transitions.
        validation: indices of the validation episodes.
        task: Gymnasium id of the environment.
        task_kwargs: options of the environment.
        observation_space: of one copy.
        action_space: of one copy.
    """

    data: Data
    validation: torch.Tensor
    task: str
    task_kwargs: dict[str, Any]
    observation_space: Box
    action_space: Box

    def split(self) -> tuple[Data, Data]:
        """Training data and validation data."""
        return self.data.without(self.validation), self.data.in_episodes(self.validation)


def save_data(
    folder: Path,
    data: Data,
    *,
    observation_space: Box,
    action_space: Box,
    task: str,
    task_kwargs: dict[str, Any] | None = None,
    policy: str = "",
    validation_share: float = 0.1,
    seed: int = 0,
) -> None:
    """Writes data, their split and the statistics of the training data to a new folder.

    The write is atomic: files go to a temporary folder, which is then renamed. `minari.MinariDataset(folder / "data")`
    can read the result.

    Args:
        folder: must not exist yet.
        data: transitions.
        observation_space: of one copy.
        action_space: of one copy.
        task: Gymnasium id of the environment.
        task_kwargs: options of the environment.
        policy: description of the policy that chose the actions.
        validation_share: fraction of the episodes for validation, in (0, 1).
        seed: of the split.

    Raises: ValueError if the data do not match the spaces, or cannot be split; FileExistsError.
    """
    from minari.data_collector import EpisodeBuffer
    from minari.dataset.minari_storage import MinariStorage

    check_spaces(data, observation_space, action_space)
    validation = validation_episodes(data.episode, validation_share, torch.Generator().manual_seed(seed))
    if folder.exists():
        raise FileExistsError(f"output must be a folder that does not exist yet, got {str(folder)!r}")
    folder = folder.resolve()  # Minari joins relative paths twice
    partial = folder.with_name(f".{folder.name}.partial-{os.getpid()}")
    partial.mkdir(parents=True)
    try:
        storage = MinariStorage.new(partial / "data", observation_space, action_space)
        storage.update_metadata(
            {
                "dataset_id": f"{folder.name}-v0",
                "minari_version": version("minari"),
                "algorithm_name": policy,
                "task": task,
                "task_kwargs": task_kwargs or {},
                "validation_episodes": [episodes_of(data).index(int(name)) for name in validation],
                "statistics": Statistics.of(data.without(validation)).lists(),
            }
        )
        storage.update_episodes(EpisodeBuffer(**arrays) for arrays in map(_episode, _by_episode(data)))
        os.replace(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def load_data(folder: Path) -> StoredData:
    """Reads data that `save_data` or Minari wrote, from their folder or its parent.

    Raises: DataError if there are none, they are damaged or truncated, have non-finite numbers or mismatched shapes,
    have episodes without a step, or leave no data for training or for validation.
    """
    from minari.dataset.minari_storage import MinariStorage

    folder = folder.resolve()  # Minari joins relative paths twice
    path = folder / "data" if (folder / "data" / "metadata.json").is_file() else folder
    if not (path / "metadata.json").is_file():
        raise DataError(f"data must be a folder that diffsim collect or Minari wrote, got {str(folder)!r}")
    try:
        metadata: dict[str, Any] = MinariStorage.read_raw_metadata(path)
        storage = MinariStorage.read(path)
        spaces = storage.observation_space, storage.action_space
        episodes = list(storage.get_episodes(range(storage.total_episodes)))
    except (OSError, KeyError, ValueError, RuntimeError, AssertionError, json.JSONDecodeError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"data must be complete and undamaged, got {str(path)!r}: {reason}") from error
    try:
        observation_space, action_space = map(_vector_box, ("observation_space", "action_space"), spaces)
        data = _joined(episodes)
        check_spaces(data, observation_space, action_space)
        validation = torch.tensor(metadata.get("validation_episodes", []), dtype=torch.int64)
        if not len(validation):
            validation = validation_episodes(data.episode, 0.1, torch.Generator().manual_seed(0))
        sizes = len(data.without(validation)), len(data.in_episodes(validation))
        if not all(sizes):
            raise ValueError(
                f"each split must have >= 1 transition, got {sizes[0]} for training, {sizes[1]} for validation"
            )
    except ValueError as error:
        raise DataError(f"{error}; in {str(path)!r}") from error
    task, task_kwargs = metadata.get("task", ""), metadata.get("task_kwargs", {})
    return StoredData(data, validation, task, task_kwargs, observation_space, action_space)


def check_spaces(data: Data, observation_space: Box, action_space: Box) -> None:
    """Raises ValueError if the observations or actions have other shapes than these spaces."""
    for name, value, space in (("obs", data.obs, observation_space), ("action", data.action, action_space)):
        if value.shape[1:] != space.shape:
            raise ValueError(f"{name} must have size {space.shape[0]}, that of the space, got {value.shape[-1]}")


def episodes_of(data: Data) -> list[int]:
    """Indices of the episodes, increasing."""
    return data.episode.unique().tolist()


def _vector_box(name: str, space: Any) -> Box:
    if not isinstance(space, Box) or len(space.shape) != 1:
        raise ValueError(f"{name} must be a vector Box, got {space}")
    return space


def _by_episode(data: Data) -> list[Data]:
    return [data.in_episodes(torch.tensor([name])) for name in episodes_of(data)]


def _episode(part: Data) -> dict[str, Any]:
    """One episode in Minari's format: T + 1 observations, and T of everything else."""
    arrays = {name: value.cpu().numpy() for name, value in part.tensors().items()}
    ends = np.zeros(len(part), dtype=bool)
    ends[-1] = not arrays["terminated"][-1]  # by a time limit or the end of collection
    return {
        "observations": np.concatenate([arrays["obs"], arrays["next_obs"][-1:]]),
        "actions": arrays["action"],
        "rewards": arrays["reward"],
        "terminations": arrays["terminated"],
        "truncations": ends,
    }


def _joined(episodes: Sequence[dict[str, Any]]) -> Data:
    """Concatenates episodes.

    Raises: ValueError if an episode has no step, or mismatched numbers of observations, actions and rewards.
    """
    if not episodes:
        raise ValueError("data must have >= 1 episode, got 0")
    for name, episode in enumerate(episodes):
        steps, observations = len(episode["rewards"]), len(episode["observations"])
        if steps < 1 or observations != steps + 1 or len(episode["actions"]) != steps:
            raise ValueError(
                f"episode {name} must have T >= 1 actions and rewards and T + 1 observations, "
                f"got {len(episode['actions'])}, {steps} and {observations}"
            )

    def column(name: str, part: slice = slice(None)) -> torch.Tensor:
        return torch.as_tensor(np.concatenate([np.asarray(episode[name])[part] for episode in episodes]))

    count = torch.tensor([len(episode["rewards"]) for episode in episodes])
    return Data(
        obs=column("observations", slice(-1)),
        action=column("actions"),
        reward=column("rewards"),
        next_obs=column("observations", slice(1, None)),
        terminated=column("terminations").bool(),
        episode=torch.arange(len(episodes)).repeat_interleave(count),
        log_prob=torch.full((int(count.sum()),), torch.nan),
    )
