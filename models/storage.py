"""Data on disk, in Minari's format: HDF5 with a JSON file beside it, which other libraries of the field read."""

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
    """Stored data cannot be used; the message names the file and says why. The file is left as it is."""


@dataclass(frozen=True)
class StoredData:
    """Data with what is known about it.

    Attributes:
        data: all transitions.
        validation: episodes held back from training.
        task: Gymnasium id of the environment.
        task_kwargs: its options.
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
        """What to train with, and what to validate with."""
        held = torch.isin(self.data.episode, self.validation)
        return self.data[~held], self.data[held]


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
    """Writes data, its split and the statistics of its training part, to a folder that must not exist yet.

    All is written beside the folder first, and appears there at one stroke. `minari.MinariDataset(folder / "data")`
    reads it.

    Args:
        folder: where to.
        data: transitions.
        observation_space: of one copy.
        action_space: of one copy.
        task: Gymnasium id of the environment.
        task_kwargs: its options.
        policy: who chose the actions, in words.
        validation_share: of the episodes, to hold back from training; in (0, 1).
        seed: of their choice.

    Raises: ValueError if the data do not fit the spaces, or cannot be split; FileExistsError.
    """
    from minari.data_collector import EpisodeBuffer
    from minari.dataset.minari_storage import MinariStorage

    check_spaces(data, observation_space, action_space)
    validation = validation_episodes(data.episode, validation_share, torch.Generator().manual_seed(seed))
    held = torch.isin(data.episode, validation)
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
                "statistics": Statistics.of(data[~held]).lists(),
            }
        )
        storage.update_episodes(EpisodeBuffer(**arrays) for arrays in map(_episode, _by_episode(data)))
        os.replace(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def load_data(folder: Path) -> StoredData:
    """Reads what `save_data` or Minari wrote: `folder` is that of the run, or of the data itself.

    Raises: DataError if there is none, it is damaged or cut short, has numbers that are not finite or shapes that do
    not fit, has episodes without a step, or nothing to validate with.
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
        raise DataError(f"data must be whole and undamaged, got {str(path)!r}: {reason}") from error
    try:
        observation_space, action_space = map(_vector_box, ("observation_space", "action_space"), spaces)
        data = _joined(episodes)
        check_spaces(data, observation_space, action_space)
        validation = torch.tensor(metadata.get("validation_episodes", []), dtype=torch.int64)
        if not len(validation):
            validation = validation_episodes(data.episode, 0.1, torch.Generator().manual_seed(0))
        held = torch.isin(data.episode, validation)
        if not held.any() or held.all():
            raise ValueError(
                f"each split must have >= 1 transition, got {(~held).sum()} to train, {held.sum()} to validate"
            )
    except ValueError as error:
        raise DataError(f"{error}; in {str(path)!r}") from error
    task, task_kwargs = metadata.get("task", ""), metadata.get("task_kwargs", {})
    return StoredData(data, validation, task, task_kwargs, observation_space, action_space)


def check_spaces(data: Data, observation_space: Box, action_space: Box) -> None:
    """Raises ValueError if the data's observations or actions are not of these spaces."""
    for name, value, space in (("obs", data.obs, observation_space), ("action", data.action, action_space)):
        if value.shape[1:] != space.shape:
            raise ValueError(f"{name} must have {space.shape[0]} numbers, as the space has, got {value.shape[-1]}")


def episodes_of(data: Data) -> list[int]:
    """Names of the episodes, in order."""
    return data.episode.unique().tolist()


def _vector_box(name: str, space: Any) -> Box:
    if not isinstance(space, Box) or len(space.shape) != 1:
        raise ValueError(f"{name} must be a vector Box, got {space}")
    return space


def _by_episode(data: Data) -> list[Data]:
    return [data.in_episodes(torch.tensor([name])) for name in episodes_of(data)]


def _episode(part: Data) -> dict[str, Any]:
    """One episode as Minari has it: T + 1 observations, T of all else."""
    arrays = {name: value.cpu().numpy() for name, value in part.tensors().items()}
    ends = np.zeros(len(part), dtype=bool)
    ends[-1] = not arrays["terminated"][-1]  # cut short, by a limit of age or by the end of collecting
    return {
        "observations": np.concatenate([arrays["obs"], arrays["next_obs"][-1:]]),
        "actions": arrays["action"],
        "rewards": arrays["reward"],
        "terminations": arrays["terminated"],
        "truncations": ends,
    }


def _joined(episodes: Sequence[dict[str, Any]]) -> Data:
    """All episodes in one.

    Raises: ValueError if one has no step, or numbers of observations and actions that do not fit.
    """
    if not episodes:
        raise ValueError("data must have >= 1 episode, got 0")
    for name, episode in enumerate(episodes):
        steps, seen = len(episode["rewards"]), len(episode["observations"])
        if steps < 1 or seen != steps + 1 or len(episode["actions"]) != steps:
            raise ValueError(
                f"episode {name} must have T >= 1 actions and rewards and T + 1 observations, "
                f"got {len(episode['actions'])}, {steps} and {seen}"
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
