"""Loads the learned model of a run, and data that it was not fitted to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from diffsim.models import Data, StoredData, WorldModel, load_data
from diffsim.policies import Policy
from diffsim.trainers.errors import CheckpointError, OptionError
from diffsim.trainers.experience.vector_env import make_env
from diffsim.trainers.model_based.model_learning import ModelLearning, validation_mask, with_two_episodes
from diffsim.trainers.run.arguments import RunOptions, official_id, pick
from diffsim.trainers.run.build import build
from diffsim.trainers.run.checkpoint import load_weights, read_checkpoint
from diffsim.trainers.run.collect_command import vector_box
from diffsim.trainers.run.fit_model import build_model
from diffsim.trainers.run.registry import ALGORITHMS, choose, takes_policy
from diffsim.trainers.run.run_folder import RunFolder, existing_folder


class ExaminedModel(NamedTuple):
    """A model to examine.

    Attributes:
        model: fitted.
        stored: the data of its run, with their task.
        validation: transitions that it was not fitted to.
        policy: the policy that was trained with it; None if there is none.
        folder: of the run.
    """

    model: WorldModel
    stored: StoredData
    validation: Data
    policy: Policy | None
    folder: RunFolder


def find_examined_model(run: str, data: str | None) -> ExaminedModel:
    """The model of a run of `diffsim fit-model`, or of `diffsim fit` with ModelBased, MBPO or PETS.

    Args:
        run: folder of the run.
        data: folder of data to examine the model on; None for the validation data of the run.

    Raises: OptionError, CheckpointError or DataError if there is no model, or the data are of another task.
    """
    folder = existing_folder("RUN", run, own=True)
    values, checkpoint = folder.read_config(), read_checkpoint(folder.checkpoint)
    policy = None
    if "algorithm" in values and issubclass(choose("algorithm", values["algorithm"], ALGORITHMS), ModelLearning):
        algorithm = trained_algorithm(values, checkpoint, folder)
        model, stored = algorithm.model, collected_data(algorithm, values)
        policy = algorithm.policy.requires_grad_(True) if takes_policy(type(algorithm)) else None
    elif "algorithm" not in values and "data" in values:
        stored = load_data(Path(data or values["data"]))
        obs_size, in_size = (len(checkpoint["state_dict"][f"model.dynamics.{name}_mean"]) for name in ("out", "in"))
        model = build_model(values, obs_size, in_size - obs_size - values["memory_size"], values["seed"])
        load_weights(model, checkpoint, "model.", folder.checkpoint)
    else:
        raise OptionError(f"RUN must be of fit-model, or of fit with ModelBased, MBPO or PETS, got {run!r}")
    if data is not None:
        stored = load_data(Path(data))
    validation = stored.data if data is not None else stored.split()[1]
    model.check(validation)
    like = next(model.parameters())
    return ExaminedModel(model.requires_grad_(False), stored, validation.to(like), policy, folder)


def trained_algorithm(values: dict[str, Any], checkpoint: dict[str, Any], folder: RunFolder) -> ModelLearning:
    """The algorithm of a run of `diffsim fit`, on the CPU, as in its checkpoint."""
    options = replace(RunOptions(**pick(values, RunOptions)), device="cpu", video=False)
    algorithm = build(options, values)
    assert isinstance(algorithm, ModelLearning)
    algorithm.set_folder(folder.checkpoint.parent)
    load_weights(algorithm, checkpoint, "", folder.checkpoint)
    algorithm.load_training_state(checkpoint["diffsim"])
    return algorithm


def collected_data(algorithm: ModelLearning, values: dict[str, Any]) -> StoredData:
    """The transitions that an algorithm has collected, with the split of its fits.

    Raises: CheckpointError if there are none.
    """
    data = algorithm.transitions()
    if data is None:
        raise CheckpointError("checkpoint must hold data, got none")
    task, task_kwargs = values["task"], values.get("task_kwargs") or {}
    env = make_env(task, 1, **task_kwargs)
    observation_space = vector_box("observations", env.single_observation_space, task)
    action_space = vector_box("actions", env.single_action_space, task)
    data = with_two_episodes(data, algorithm.validation_share)
    held_out = data.episode[validation_mask(data, algorithm.validation_share)].unique()
    return StoredData(data, held_out, official_id(task), task_kwargs, observation_space, action_space)
