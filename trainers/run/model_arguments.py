"""What can be said to `diffsim collect`, `diffsim fit-model` and `diffsim model-report`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jsonargparse import ActionConfigFile, ArgumentParser, Namespace  # pyright: ignore[reportPrivateImportUsage]

from diffsim.models import ModelFit, WorldModel
from diffsim.trainers.errors import OptionError
from diffsim.trainers.run.arguments import parse


def at_least(options: object, **least: int) -> None:
    """Raises OptionError if one of the named options is below its least value. None passes."""
    for name, bound in least.items():
        value = getattr(options, name)
        if value is not None and value < bound:
            raise OptionError(f"{name} must be >= {bound}, got {value}")


@dataclass(frozen=True)
class CollectOptions:
    """Experience to record.

    Args:
        task: any id of Gymnasium with vector Boxes, run there, or diffsim/<id>, run in our simulator.
        task_kwargs: options of the environment, those of Gymnasium.
        steps: env steps, of all copies together, at least 1.
        policy: "random" for actions that are equally likely anywhere within their bounds, or the folder of a run.
        deterministic: take the policy's mean action, without its noise.
        num_envs: copies, at least 1.
        seed: of the environment, the actions and the split, at least 0.
        validation_share: of the episodes, to hold back from training; in (0, 1).
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
        at_least(self, steps=1, num_envs=1, seed=0)
        if not 0 < self.validation_share < 1:
            raise OptionError(f"validation_share must be in (0, 1), got {self.validation_share}")
        if self.folder.exists():
            raise OptionError(f"output must be a folder that does not exist yet, got {str(self.folder)!r}")

    @property
    def folder(self) -> Path:
        """Where the data go."""
        return Path(self.output or f"data/{self.task.replace('/', '-')}")


@dataclass(frozen=True)
class FitModelOptions:
    """A model to fit.

    Args:
        data: folder of the data, from `diffsim collect` or Minari.
        device: where to compute, such as cpu or cuda.
        threads: of torch on the CPU, at least 1.
        seed: of initial weights, resamples and order, at least 0.
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
        at_least(self, threads=1, seed=0, save_every=1)

    @property
    def folder(self) -> Path:
        """Where the run goes, if nothing is there yet."""
        return Path(self.run or f"runs/model-{Path(self.data).name}-seed-{self.seed}")


@dataclass(frozen=True)
class ReportOptions:
    """A model to examine.

    Args:
        run: folder of a run, of `diffsim fit-model` or of `diffsim fit --algorithm ModelBased`.
        data: data to examine it on; that which the run held back, if None.
        policy: whose gradient is compared: "random" for a Gaussian perceptron with fresh weights, or the folder of a
            run; the run's own policy, if it has one, and else random, if None.
        horizons: longest open-loop prediction and longest roll-out for the gradient, at least 1.
        num_envs: roll-outs that a gradient is the mean of, at least 2.
        gamma: discount of the gradient's return, in (0, 1].
        seed: of the policy, start states and noises, at least 0.
    """

    run: str
    data: str | None = None
    policy: str | None = None
    horizons: int = 32
    num_envs: int = 256
    gamma: float = 0.99
    seed: int = 0

    def __post_init__(self) -> None:
        at_least(self, horizons=1, num_envs=2, seed=0)
        if not 0 < self.gamma <= 1:
            raise OptionError(f"gamma must be in (0, 1], got {self.gamma}")


MODEL_GIVEN: set[str | int] = {"obs_size", "action_size"}
FIT_GIVEN: set[str | int] = {"model", "train", "validation", "generator"}


def parse_collect(argv: Sequence[str]) -> CollectOptions:
    """Reads the options of `diffsim collect`."""
    parser = make_parser("collect", "Record experience in an environment, as data for a model.")
    parser.add_class_arguments(CollectOptions)
    return CollectOptions(**given(parse(parser, argv)))


def parse_fit_model(argv: Sequence[str]) -> Namespace:
    """Reads the options of `diffsim fit-model`, all of them flat."""
    parser = make_parser("fit-model", "Fit a model to data. Options may also stand in a YAML file; later ones win.")
    parser.add_argument("--resume", metavar="RUN", help="Go on with the run in this folder.")
    parser.add_class_arguments(FitModelOptions)
    parser.add_class_arguments(WorldModel, skip=MODEL_GIVEN)
    parser.add_class_arguments(ModelFit, skip=FIT_GIVEN)
    return parse(parser, argv)


def parse_report(argv: Sequence[str]) -> ReportOptions:
    """Reads the options of `diffsim model-report`."""
    parser = make_parser("model-report", "Examine a model: its errors, its calibration, and the gradients through it.")
    parser.add_argument("run", metavar="RUN", help="Folder of the run.")
    parser.add_class_arguments(ReportOptions, skip={"run"})
    return ReportOptions(**given(parse(parser, argv)))


def make_parser(command: str, description: str) -> ArgumentParser:
    """A parser that takes YAML files."""
    parser = ArgumentParser(prog=f"diffsim {command}", description=description, exit_on_error=False, allow_abbrev=False)
    parser.add_argument("--config", action=ActionConfigFile, help="YAML file of options.")
    return parser


def given(parsed: Namespace) -> dict[str, Any]:
    """Every option but the names of files of options."""
    return {name: value for name, value in parsed.as_dict().items() if name != "config"}
