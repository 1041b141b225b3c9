"""Trained policies that are shipped: `diffsim zoo` lists them, and `zoo:NAME` stands for the run folder of one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from diffsim.checks import did_you_mean
from diffsim.trainers.errors import OptionError
from diffsim.trainers.run.parsing import make_parser, parse

FOLDER = Path(__file__).parent / "policies"
PREFIX = "zoo:"
CAPTION = """Return: mean and standard deviation over episodes in the official environment on C MuJoCo, with mean \
actions. minutes: of training, on the machine of the card."""


@dataclass(frozen=True)
class Card:
    """What is known of a shipped policy.

    Args:
        name: after `zoo:`.
        task: Gymnasium id.
        algorithm: name of the algorithm that trained it.
        command: how to train it again.
        seed: of the training.
        env_steps: environment steps of the training.
        minutes: wall-clock time of the training, without evaluations.
        return_mean: over the evaluated episodes.
        return_std: standard deviation over them.
        episodes: number of evaluated episodes.
        machine: that trained it, with versions and commit.
    """

    name: str
    task: str
    algorithm: str
    command: str
    seed: int
    env_steps: int
    minutes: float
    return_mean: float
    return_std: float
    episodes: int
    machine: str

    @classmethod
    def read(cls, folder: Path) -> Card:
        """The card in a folder."""
        values: dict[str, Any] = yaml.safe_load((folder / "card.yaml").read_text())
        return cls(**values)

    def write(self, folder: Path) -> None:
        """Writes card.yaml to a folder."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        (folder / "card.yaml").write_text(yaml.safe_dump(values, sort_keys=False, width=1000))


def names() -> list[str]:
    """Names of the policies, sorted."""
    return sorted(path.parent.name for path in FOLDER.glob("*/card.yaml"))


def folder_of(name: str) -> Path:
    """The folder of a policy: config.yaml, checkpoint and card.

    Raises: OptionError if there is no such policy.
    """
    if name not in names():
        hint = did_you_mean(name, names())
        raise OptionError(f"{PREFIX}NAME must be one of {', '.join(names())}, got {PREFIX}{name}{hint}")
    return FOLDER / name


def zoo_command(argv: Sequence[str], console: Console) -> None:
    """Prints the table of policies, or the card of one.

    Raises: OptionError if there is no such policy.
    """
    parser = make_parser("zoo", "List the trained policies that are shipped: diffsim evaluate zoo:NAME runs one.")
    parser.add_argument("name", nargs="?", metavar="NAME", help="Print the card of this policy.")
    name = parse(parser, argv).name
    if name is not None:
        card = folder_of(name.removeprefix(PREFIX)) / "card.yaml"
        console.print(card.read_text(), end="", soft_wrap=True, markup=False, highlight=False)
        return
    table = Table(box=SIMPLE, padding=(0, 1, 0, 0), caption=CAPTION)
    for heading in ("name", "task", "algorithm", "env steps", "minutes", "return"):
        table.add_column(heading, justify="left" if heading in ("name", "task", "algorithm") else "right", no_wrap=True)
    for card in map(Card.read, map(folder_of, names())):
        numbers = f"{card.env_steps:,}", f"{card.minutes:.0f}", f"{card.return_mean:,.1f} ± {card.return_std:,.1f}"
        table.add_row(PREFIX + card.name, card.task, card.algorithm, *numbers)
    Console(file=console.file, width=max(console.width, 110)).print(table)
