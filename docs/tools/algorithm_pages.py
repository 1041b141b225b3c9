"""Writes the sections of docs/algorithms/*.md that come from the code: equation, options and source.

    python docs/tools/algorithm_pages.py

Prose between them is written by hand. `tests/test_documentation.py` fails where a page is not up to date.
"""

from __future__ import annotations

import inspect
import re
import sys
from pathlib import Path
from typing import Any

from diffsim.options import REQUIRED
from diffsim.trainers.run.registry import ALGORITHMS, choose

PAGES = Path(__file__).parents[1] / "algorithms"
SECTIONS = (
    *("Equation", "When to use it", "Command line", "Options", "Reference result", "Differences from the paper"),
    "Source",
)
GENERATED = ("Equation", "Options", "Source")


def slug(name: str) -> str:
    """Name of an algorithm's page: words in lower case, with hyphens, such as actor-critic."""
    special = {"CMAES": "cma-es", "PoWER": "power"}
    return special.get(name, re.sub(r"(?<=[a-z])(?=[A-Z])", "-", name).lower())


def page(name: str) -> Path:
    """The page of an algorithm."""
    return PAGES / f"{slug(name)}.md"


def sections(name: str) -> dict[str, str]:
    """The generated sections of an algorithm's page."""
    cls = choose("algorithm", name, ALGORITHMS)
    return {"Equation": equation(cls), "Options": options(cls), "Source": source(cls)}


def equation(cls: type) -> str:
    """The class's docstring after its first line, without arguments and source: equations, and what they mean."""
    text = re.split(r"\n(?:Args|Attributes):\n", inspect.cleandoc(cls.__doc__ or ""))[0]
    return text.partition("\n\n")[2].strip("\n")


def source(cls: type) -> str:
    """What the class's docstring names as its source."""
    return inspect.cleandoc(cls.__doc__ or "").partition("\nSource: ")[2].strip()


def options(cls: Any) -> str:
    """A table of the options that the class and its bases declare."""
    rows = ["| option | default | valid | meaning |", "|---|---|---|---|"]
    for name, option in cls.options.items():
        if option.given:
            continue
        default = "required" if option.default is REQUIRED else f"`{option.default!r}`"
        valid = f"`{option.rule}`" if isinstance(option.rule, str) else choices(cls, name)
        rows.append(f"| `{name}` | {default} | {valid} | {option.help.replace('|', chr(92) + '|')} |")
    common = "Options of the run, such as `num_envs` and `env_steps`, and of the policy are listed by"
    return "\n".join([*rows, "", f"{common}\n`diffsim fit --algorithm {cls.__name__} --help`."])


def choices(cls: Any, name: str) -> str:
    """The values of an option of a Literal type."""
    kind = cls.__signature__.parameters[name].annotation
    values = getattr(kind, "__args__", ()) if "Literal" in str(kind) else ()
    return ", ".join(f"`{value}`" for value in values if isinstance(value, str))


def updated(name: str) -> str:
    """The text of an algorithm's page, with its generated sections as the code says now."""
    text = page(name).read_text()
    for title, body in sections(name).items():
        pattern = re.compile(rf"(^## {re.escape(title)}\n).*?(?=^## |\Z)", re.S | re.M)
        text = pattern.sub(lambda match, body=body: f"{match[1]}\n{body}\n\n", text)
    return text.rstrip() + "\n"


def main() -> int:
    """Rewrites the pages; returns how many have changed."""
    changed = 0
    for name in ALGORITHMS:
        before, after = page(name).read_text(), updated(name)
        if before != after:
            page(name).write_text(after)
            print(f"changed: {page(name).name}")
            changed += 1
    return changed


if __name__ == "__main__":
    main()
    sys.exit(0)
