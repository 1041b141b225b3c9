"""Which package may import which, read from the source."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
OURS = {"diffsim", "models", "policies", "trainers", "benchmarks", "tests"}
ALLOWED = {
    "diffsim": {"diffsim"},
    "models": {"models", "diffsim.mdp"},
    "policies": {"policies", "diffsim.mdp"},
    "trainers": {"trainers", "policies", "models", "diffsim"},
}
NO_LIGHTNING = {"diffsim", "models", "policies"}
MATHS = ("trainers/returns.py", "trainers/estimators.py", "trainers/rollout.py", "trainers/nonfinite.py")
MATHS += ("trainers/replay.py", "trainers/value_gradient/descent.py", "trainers/value_gradient/exploration.py")
PACKAGE_FILES = sorted(path for package in ALLOWED for path in (ROOT / package).rglob("*.py"))


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


def offences(package, source):
    """Imports in `source` that a file of `package` may not have."""
    for name in imports(source):
        top = name.split(".")[0]
        allowed = any(name == rule or name.startswith(rule + ".") for rule in ALLOWED[package])
        if name == "relative" or (top in OURS and not allowed):
            yield name
        if top in {"lightning", "pytorch_lightning"} and package in NO_LIGHTNING:
            yield name


@pytest.mark.parametrize("path", PACKAGE_FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_the_right_way(path):
    package = path.relative_to(ROOT).parts[0]
    assert not list(offences(package, path.read_text()))


@pytest.mark.parametrize(
    ("package", "source"),
    [
        ("diffsim", "from policies import Policy"),
        ("diffsim", "import lightning.pytorch"),
        ("policies", "from diffsim.simulator import Simulator"),
        ("policies", "from diffsim import simulator"),
        ("policies", "import models"),
        ("models", "def f():\n    from trainers import rollout"),
        ("trainers", "from tests.trainers import linear"),
        ("trainers", "from . import rollout"),
    ],
)
def test_the_rule_catches_what_it_forbids(package, source):
    assert list(offences(package, source))


@pytest.mark.parametrize("name", MATHS)
def test_maths_is_free_of_lightning(name):
    assert not [module for module in imports((ROOT / name).read_text()) if module.startswith("lightning")]


def test_no_cycles_between_files():
    names = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in PACKAGE_FILES}
    names = {re.sub(r"\.__init__$", "", name): path for name, path in names.items()}
    graph = {name: set(imports(path.read_text())) & set(names) - {name} for name, path in names.items()}
    while leaves := {name for name, needs in graph.items() if not needs}:
        graph = {name: needs - leaves for name, needs in graph.items() if name not in leaves}
    assert not graph


def test_folders_are_at_most_two_deep_and_files_have_names_of_their_own():
    for path in PACKAGE_FILES:
        assert len(path.relative_to(ROOT).parts) <= 3, path
        assert path.stem not in {"utils", "common", "helpers", "misc"}, path


def test_physics_does_not_load_lightning():
    code = "import sys, diffsim, diffsim.mdp, policies, models; sys.exit('lightning' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
