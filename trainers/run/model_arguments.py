"""Options of `diffsim collect`, `diffsim fit-model` and `diffsim model-report`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jsonargparse import ActionConfigFile, ArgumentParser, Namespace  # pyright: ignore[reportPrivateImportUsage]

from diffsim.models import ModelFit, WorldModel
from diffsim.trainers.errors import OptionError
from diffsim.trainers.options import check_fields
from diffsim.trainers.run.arguments import parse


@dataclass(frozen=True)
class CollectOptions:
    """Options of `diffsim collect`.

    Args:
        task: any Gymnasium id whose spaces are vector Boxes, or diffsim/ID for our simulator.
        task_kwargs: options of the environment, as in Gymnasium.
        steps: env steps over all copies, at least 1.
        policy: "random" for uniformly random actions, or the folder of a run.
        deterministic: take the policy's mean action, without noise.
        num_envs: number of copies, at least 1.
        seed: seed of the environment, the actions and the split, at least 0.
        validation_share: fraction of the episodes held out for validation, in (0, 1).
        output: folder of the data; data/TASK if None. It must not exist yet.
    """

    task: str
    steps: int
    task_kwargs: dict[str, Any] = field(default_factory=dict)
    policy: str = "random"
    deterministic: bool = False
    num_envs: int = 1
    seed: int = 0
    validation_share: float = 0.1
    output: str | None = None

    def __post_init__(self) -> None:
        check_fields(self, {"steps": ">= 1", "num_envs": ">= 1", "seed": ">= 0", "validation_share": "in (0, 1)"})
        if self.folder.exists():
            raise OptionError(f"output must be a folder that does not exist yet, got {str(self.folder)!r}")

    @property
    def folder(self) -> Path:
        """Folder of the data."""
        return Path(self.output or f"data/{re.sub('[/:]', '-', self.task)}")


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


@dataclass(frozen=True)
class ReportOptions:
    """Options of `diffsim model-report`.

    Args:
        run: folder of a run of `diffsim fit-model`, or of `diffsim fit` with ModelBased, MBPO or PETS.
        data: folder of data to examine the model on; the validation data of the run if None.
        policy: policy whose gradient is compared: "random" for a GaussianMLP with random weights, or the folder of a
            run. If None, the run's own policy, or random if it has none.
        horizons: longest open-loop prediction, and longest roll-out for gradients, at least 1.
        num_envs: roll-outs per gradient, at least 2.
        gamma: discount, in (0, 1].
        seed: seed of the policy, initial states and noises, at least 0.
    """

    run: str
    data: str | None = None
    policy: str | None = None
    horizons: int = 32
    num_envs: int = 256
    gamma: float = 0.99
    seed: int = 0

    def __post_init__(self) -> None:
        check_fields(self, {"horizons": ">= 1", "num_envs": ">= 2", "seed": ">= 0", "gamma": "in (0, 1]"})


MODEL_GIVEN: set[str | int] = {"obs_size", "action_size"}
FIT_GIVEN: set[str | int] = {"model", "train", "validation", "generator"}


def parse_collect(argv: Sequence[str]) -> CollectOptions:
    """Reads the options of `diffsim collect`."""
    parser = make_parser("collect", "Record transitions of an environment, as data for a model.")
    parser.add_class_arguments(CollectOptions)
    return CollectOptions(**given(parse(parser, argv)))


def parse_fit_model(argv: Sequence[str]) -> Namespace:
    """Reads the options of `diffsim fit-model`, as a flat namespace."""
    parser = make_parser(
        "fit-model", "Fit a model to data. Options can also be given in a YAML file; later ones take precedence."
    )
    parser.add_argument("--resume", metavar="RUN", help="Continue the run in this folder.")
    parser.add_class_arguments(FitModelOptions)
    parser.add_class_arguments(WorldModel, skip=MODEL_GIVEN)
    parser.add_class_arguments(ModelFit, skip=FIT_GIVEN)
    return parse(parser, argv)


def parse_report(argv: Sequence[str]) -> ReportOptions:
    """Reads the options of `diffsim model-report`."""
    parser = make_parser("model-report", "Examine a model: prediction errors, calibration, and policy gradients.")
    parser.add_argument("run", metavar="RUN", help="Folder of the run.")
    parser.add_class_arguments(ReportOptions, skip={"run"})
    return ReportOptions(**given(parse(parser, argv)))


def make_parser(command: str, description: str) -> ArgumentParser:
    """A parser that also reads YAML files."""
    parser = ArgumentParser(prog=f"diffsim {command}", description=description, exit_on_error=False, allow_abbrev=False)
    parser.add_argument("--config", action=ActionConfigFile, help="YAML file of options.")
    return parser


def given(parsed: Namespace) -> dict[str, Any]:
    """All options except --config."""
    return {name: value for name, value in parsed.as_dict().items() if name != "config"}
