"""Loggers of a run, beside its metrics.csv: TensorBoard, or Weights & Biases."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger
from torch.utils.tensorboard.summary import hparams

from diffsim.trainers.run.extras import require_extra
from diffsim.trainers.run.run_folder import RunFolder

PROJECT = "diffsim"
SCORE = "eval/return"


def make_logger(name: str, folder: RunFolder) -> Logger | None:
    """The logger of a run, with the run's options as hyper-parameters.

    Args:
        name: "tensorboard"; "wandb" (needs the wandb extra; `WANDB_MODE=offline` keeps its files in the folder); or
            "csv" for none, because metrics.csv is always written.
        folder: of the run.

    Raises: UsageError without the wandb extra.
    """
    options = folder.read_config() if folder.config.exists() else {}
    if name == "wandb":
        require_extra("logger wandb", "wandb", "wandb")
        return WandbLogger(name=folder.path.name, project=PROJECT, save_dir=folder.path, config=options)
    if name == "tensorboard":
        logger = TensorBoardLogger(folder.path, name="tensorboard", version="", default_hp_metric=False)
        log_options(logger, options)
        return logger
    return None


def finish(logger: Logger | None) -> None:
    """Ends a run of Weights & Biases, whose files are complete then; a later run of this process gets its own."""
    if isinstance(logger, WandbLogger):
        logger.experiment.finish()


def log_options(logger: TensorBoardLogger, options: Mapping[str, Any]) -> None:
    """Shows options in TensorBoard's table of hyper-parameters, beside the official return."""
    kinds = bool | int | float | str
    plain = {name: value if isinstance(value, kinds) else str(value) for name, value in options.items()}
    writer = logger.experiment._get_file_writer()
    for summary in hparams(plain, {SCORE: 0.0}):
        writer.add_summary(summary)
