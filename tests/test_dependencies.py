"""Which package may import which, read from the source."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("diffsim", "models", "policies", "trainers")
"""Folders at the root. Python imports the last three through links in `diffsim/`: `diffsim.models`, and so on."""
ALLOWED = {
    "diffsim": {"diffsim"},
    "models": {"diffsim.models", "diffsim.mdp", "diffsim.checks"},
    "policies": {"diffsim.policies", "diffsim.mdp", "diffsim.checks"},
    "trainers": {"diffsim"},
}
FORBIDDEN = {
    "diffsim": {"diffsim.models", "diffsim.policies", "diffsim.trainers"},
    "models": set(),
    "policies": set(),
    "trainers": set(),
}
TOP_LEVEL = {"models", "policies", "trainers", "benchmarks", "tests", "examples"}
"""Names that may belong to somebody else where our package is installed."""
NO_LIGHTNING = {"diffsim", "models", "policies"}
NO_LIGHTNING_FOLDERS = ("trainers/maths", "trainers/experience", "trainers/pathwise", "trainers/likelihood_ratio")
NO_LIGHTNING_FOLDERS += ("trainers/value_gradient", "trainers/model_based", "trainers/black_box", "trainers/graphs")
ENTRANCE = ROOT / "diffsim" / "__main__.py"  # of `python -m diffsim`: it starts the command line, and nothing else
PACKAGE_FILES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py") if path != ENTRANCE)


def imports(source):
    """Full names of the modules that `source` imports, wherever in the file."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                yield "relative"
            elif node.module == "diffsim":
                yield from (f"diffsim.{alias.name}" for alias in node.names)
            elif node.module:
                yield node.module


def within(name, rules):
    """Whether a module is one of `rules`, or inside one."""
    return any(name == rule or name.startswith(rule + ".") for rule in rules)


def offences(package, source, lightning_free=False):
    """Imports in `source` that a file of `package` may not have."""
    for name in imports(source):
        top = name.split(".")[0]
        if name == "relative" or top in TOP_LEVEL:
            yield name
        if top == "diffsim" and (not within(name, ALLOWED[package]) or within(name, FORBIDDEN[package])):
            yield name
        if top in {"lightning", "pytorch_lightning"} and (package in NO_LIGHTNING or lightning_free):
            yield name


def test_imports_point_the_right_way():
    offenders = {}
    for path in PACKAGE_FILES:
        name = str(path.relative_to(ROOT))
        found = list(offences(name.split("/")[0], path.read_text(), name.startswith(NO_LIGHTNING_FOLDERS)))
        if found:
            offenders[name] = found
    assert not offenders


@pytest.mark.parametrize(
    ("package", "source"),
    [
        ("diffsim", "from diffsim.policies import Policy"),
        ("diffsim", "import lightning.pytorch"),
        ("policies", "from diffsim.engine.simulator import Simulator"),
        ("policies", "from diffsim import engine"),
        ("policies", "import models"),
        ("models", "def f():\n    from diffsim.trainers import cli"),
        ("trainers", "from tests.trainers import linear"),
        ("trainers", "from policies import Policy"),
        ("trainers", "from . import rollout"),
    ],
)
def test_the_rule_catches_what_it_forbids(package, source):
    assert list(offences(package, source))


def test_no_cycles_between_files():
    names = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in PACKAGE_FILES}
    names = {
        re.sub(r"^(?!diffsim)", "diffsim.", re.sub(r"\.__init__$", "", name)): path for name, path in names.items()
    }
    graph = {name: set(imports(path.read_text())) & set(names) - {name} for name, path in names.items()}
    while leaves := {name for name, needs in graph.items() if not needs}:
        graph = {name: needs - leaves for name, needs in graph.items() if name not in leaves}
    assert not graph


def test_folders_are_at_most_two_deep_and_files_have_names_of_their_own():
    families = ROOT / "diffsim" / "tasks"  # each family of tasks has a folder
    deep = [path for path in PACKAGE_FILES if len(path.relative_to(ROOT).parts) > 3 + path.is_relative_to(families)]
    vague = [path for path in PACKAGE_FILES if path.stem in {"utils", "common", "helpers", "misc"}]
    assert not deep and not vague


def test_physics_does_not_load_lightning():
    code = "import sys, diffsim, diffsim.mdp, diffsim.policies, diffsim.models; sys.exit('lightning' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
