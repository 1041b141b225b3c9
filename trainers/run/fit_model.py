"""`diffsim fit-model`: fits a model to saved data, in a run folder."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

import diffsim
from diffsim.models import ModelFit, StoredData, WorldModel, load_data
from diffsim.models.known import REWARDS, TERMINATIONS
from diffsim.trainers.algorithm import Training
from diffsim.trainers.errors import OptionError, StoppedError, option_errors
from diffsim.trainers.metrics import Metric
from diffsim.trainers.options import check_fields
from diffsim.trainers.run.arguments import pick, resolved
from diffsim.trainers.run.checkpoint import read_checkpoint
from diffsim.trainers.run.display import ReturnBar
from diffsim.trainers.run.fit_command import resumed_folder
from diffsim.trainers.run.parsing import make_parser, parse
from diffsim.trainers.run.run_folder import RunFolder
from diffsim.trainers.run.summary import print_table
from diffsim.trainers.run.train import Budget, train
from diffsim.trainers.run.unchanged import EDITABLE, refuse_changes

MODEL_GIVEN: set[str | int] = {"obs_size", "action_size"}
FIT_GIVEN: set[str | int] = {"model", "train", "validation", "generator"}
"""Arguments of `WorldModel` and `ModelFit` that are no options."""
KNOWN = {
    "reward": f'"learned", or the known function {" or ".join(REWARDS)}.',
    "termination": f'"learned", or the known function {" or ".join(TERMINATIONS)}.',
}
"""Arguments of `WorldModel` that are functions, of which the command line takes the names."""


@dataclass(frozen=True)
class FitModelOptions:
    """Options of `diffsim fit-model`.

    Args:
        data: folder of the data, from `diffsim collect` or Minari.
        device: where to compute, such as cpu or cuda.
        threads: torch's threads on the CPU, at least 1.
        seed: of initial weights, bootstrap samples and order, at least 0.
        save_every: epochs between checkpoints, at least 1.
        run: folder of the run; runs/model-DATA-seed-SEED if None. If it exists, a number is added.
    """

    data: str
    device: str = "cpu"
    threads: int = 1
    seed: int = 0
    save_every: int = 10
    run: str | None = None

    def __post_init__(self) -> None:
        check_fields(self, {"threads": ">= 1", "seed": ">= 0", "save_every": ">= 1"})

    @property
    def folder(self) -> Path:
        """Folder of the run, if it does not exist yet."""
        return Path(self.run or f"runs/model-{Path(self.data).name}-seed-{self.seed}")


class ModelFitting(Training):
    """Fits a world model; one iteration is one epoch. It ends when no ensemble member improves any more.

    Args:
        model: the model to fit.
        data: train and validation transitions.
        fit_kwargs: options of `ModelFit`.
        seed: seed of bootstrap resamples and batch order, at least 0.
    """

    def __init__(self, model: WorldModel, data: StoredData, fit_kwargs: Mapping[str, Any], *, seed: int = 0) -> None:
        super().__init__()
        self.generator = torch.Generator(model.dynamics.in_mean.device).manual_seed(seed)
        self.device = self.generator.device
        self.optimizers = []  # `fit` has its own optimizer, and saves its state
        self.model = model
        self.fit = ModelFit(model, *data.split(), self.generator, **fit_kwargs)

    def iterate(self) -> dict[str, Metric]:
        """One epoch; after the last, every member gets its best weights."""
        losses: dict[str, Metric] = dict(self.fit.epoch())
        if self.fit.finished:
            self.fit.finish()
            self.finished = True
        return losses

    def training_state(self) -> dict[str, Any]:
        """Adds the state of the fit."""
        return {**super().training_state(), "fit": self.fit.state_dict(), "complete": self.finished}

    def load_training_state(self, saved: Mapping[str, Any]) -> None:
        """Restores what `training_state` returned."""
        super().load_training_state(saved)
        self.fit.load_state_dict(saved["fit"])
        self.finished = saved["complete"]


class LossBar(ReturnBar):
    """The progress bar, with epochs and losses in place of env steps and returns."""

    def amount(self, training: Training, done: float) -> str:
        """Epochs, and the largest number of them."""
        return f"{training.iteration}/{self.recorder.budget.iterations} epochs"

    def status(self, training: Training) -> str:
        """Both losses, in nats per step."""
        labels = {"train_loss": "train", "validation_loss": "validation", "best_validation_loss": "best"}
        return "  ".join(f"{text} {self.shown[name]:.4f}" for name, text in labels.items() if name in self.shown)


def fit_model(argv: Sequence[str], console: Console) -> RunFolder:
    """Fits a model by the options in `argv`, or continues a run, and prints the result.

    Raises: OptionError before any work, if an option is wrong or the data cannot be used.
    """
    resumed = resumed_folder(argv, changeable=())
    if resumed is not None:
        argv = ["--config", str(resumed.config)]
    description = "Fit a model to data. Options can also be given in a YAML file; later ones take precedence."
    parser = make_parser("fit-model", description, config=True)
    parser.add_argument("--resume", metavar="RUN", help="Continue the run in this folder.")
    parser.add_class_arguments(FitModelOptions)
    parser.add_class_arguments(WorldModel, skip=MODEL_GIVEN | KNOWN.keys())
    for name, help in KNOWN.items():
        default = inspect.signature(WorldModel).parameters[name].default
        parser.add_argument(f"--{name}", type=str, default=default, help=help)
    parser.add_class_arguments(ModelFit, skip=FIT_GIVEN)
    values = resolved(parse(parser, argv))
    options = FitModelOptions(**{name: values[name] for name in FitModelOptions.__dataclass_fields__})
    torch.set_num_threads(options.threads)
    with option_errors():
        stored = load_data(Path(options.data))
        model = build_model(values, stored.data.obs.shape[1], stored.data.action.shape[1], options.seed)
        fitting = ModelFitting(model.to(options.device), stored, pick(values, ModelFit), seed=options.seed)
    folder = RunFolder.fresh(options.folder, values) if resumed is None else resumed
    if resumed is not None:
        if (checkpoint := read_checkpoint(folder.checkpoint))["diffsim"].get("complete"):
            raise OptionError(f"--resume must be a run that has not finished, got {str(folder.path)!r}")
        refuse_changes(values, checkpoint, EDITABLE | {"data", "save_every"})
    budget = Budget(fitting.fit.max_epochs, evaluate_every=options.save_every)
    recorder = train(fitting, budget, folder, console, None if resumed is None else folder.checkpoint, LossBar)
    last = folder.read_metrics()[-1]
    rows = {
        "transitions": f"{len(fitting.fit.train):,} to train, {len(fitting.fit.validation):,} to validate",
        "validation loss": f"{fitting.fit.best_loss[model.elites].mean():.4f} nats per step, of the elites",
        "epochs": str(fitting.fit.epoch_count),
        "seconds": f"{last['seconds']:.1f}",
        "checkpoint": str(folder.checkpoint),
    }
    print_table(f"model of {stored.task or options.data}, seed {options.seed}", rows, console)
    if recorder.stopped_early:
        console.print(f"Stopped. To continue: diffsim fit-model --resume {folder.path}", soft_wrap=True)
        raise StoppedError(recorder.stop_signal)
    return folder


def build_model(values: Mapping[str, Any], obs_size: int, action_size: int, seed: int) -> WorldModel:
    """The model that the options describe, with weights drawn from their seed."""
    torch.manual_seed(seed)
    return WorldModel(obs_size, action_size, **pick(values, WorldModel)).to(diffsim.dtype)
