"""Finding a fitted model, and data that it was not fitted to, in the folder of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from diffsim.models import Data, StoredData, WorldModel, load_data
from diffsim.policies import Policy
from diffsim.trainers.errors import CheckpointError, OptionError
from diffsim.trainers.experience.vector_env import make_env
from diffsim.trainers.model_based.mbpo import MBPO, MODEL_DEFAULTS, replayed
from diffsim.trainers.model_based.model_learning import held_back, in_pieces
from diffsim.trainers.run.arguments import RunOptions, official_id, pick
from diffsim.trainers.run.build import build
from diffsim.trainers.run.checkpoint import load_weights, read_checkpoint
from diffsim.trainers.run.collect_command import trained_policy, vector_box
from diffsim.trainers.run.fit_model import build_model
from diffsim.trainers.run.run_folder import RunFolder, existing_folder, read_yaml


class Subject(NamedTuple):
    """What is examined.

    Attributes:
        model: fitted.
        stored: the data it comes from, and its task.
        validation: transitions that it was not fitted to.
        policy: trained beside it, if one was.
        folder: of the run.
    """

    model: WorldModel
    stored: StoredData
    validation: Data
    policy: Policy | None
    folder: RunFolder


def find_subject(run: str, data: str | None) -> Subject:
    """The model of a run of `diffsim fit-model`, or of `diffsim fit` with ModelBased, MBPO or PETS.

    Args:
        run: its folder.
        data: folder of data to examine it on, all of them; those which the run held back, if None.

    Raises: OptionError, CheckpointError or DataError if there is none, or the data are of another task.
    """
    folder = existing_folder("RUN", run)
    values, checkpoint = read_yaml(folder.config), read_checkpoint(folder.checkpoint)
    policy = None
    if values.get("algorithm") in ("ModelBased", "MBPO", "PETS"):
        stored = collected_data(values, checkpoint, folder)
        options, seed = values.get("model_kwargs") or {}, values["seed"]
        if values["algorithm"] == "MBPO":
            options = {**MODEL_DEFAULTS, **options}
        if values["algorithm"] != "PETS":
            policy = trained_policy(run, stored.observation_space, stored.action_space)
    elif "data" in values:
        stored = load_data(Path(data or values["data"]))
        options, seed = values, values["seed"]
    else:
        raise OptionError(f"RUN must be of fit-model, or of fit with ModelBased, MBPO or PETS, got {run!r}")
    if data is not None:
        stored = load_data(Path(data))
    validation = stored.data if data is not None else stored.split()[1]
    seen, given = (checkpoint["state_dict"][f"model.dynamics.{name}_mean"].shape[0] for name in ("out", "in"))
    model = build_model(options, seen, given - seen - options.get("memory_size", 0), seed)
    load_weights(model, checkpoint, "model.", folder.checkpoint)
    like = model.dynamics.in_mean
    model.check(validation)
    return Subject(model.requires_grad_(False), stored, validation.to(like), policy, folder)


def collected_data(values: dict[str, Any], checkpoint: dict[str, Any], folder: RunFolder) -> StoredData:
    """The data in a checkpoint of `ModelBased` or `PETS`, or in the replay beside one of `MBPO`.

    Raises: CheckpointError if it has none.
    """
    saved = checkpoint["diffsim"].get("data")
    if values["algorithm"] == "MBPO":
        algorithm = build(RunOptions(**pick(values, RunOptions)), values)
        assert isinstance(algorithm, MBPO)
        algorithm.folder = folder.checkpoint.parent
        algorithm.setup("fit")
        algorithm.on_load_checkpoint(checkpoint)
        saved = replayed(algorithm.replay).tensors()
    if not saved:
        raise CheckpointError(f"checkpoint must hold data, got none in {str(folder.checkpoint)!r}")
    task, task_kwargs = values["task"], values.get("task_kwargs") or {}
    env = make_env(task, 1, **task_kwargs)
    observation_space = vector_box("observations", env.single_observation_space, task)
    action_space = vector_box("actions", env.single_action_space, task)
    data = in_pieces(Data(**saved), values["validation_share"])
    held = data.episode[held_back(data, values["validation_share"])].unique()
    return StoredData(data, held, official_id(task), task_kwargs, observation_space, action_space)
