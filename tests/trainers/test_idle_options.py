"""Every option of every algorithm, policy, model and command is read by the code that it is an option of.

While configurations run, `test_cli.py` looks for options of their algorithms that are not read.
"""

import ast
import copy
import inspect
import sys
import textwrap
from dataclasses import fields
from pathlib import Path

import pytest

import diffsim
from diffsim.checks import check_values
from diffsim.models import WorldModel
from diffsim.models.fitting import ModelFit
from diffsim.policies import GaussianMLP, LinearPolicy
from diffsim.tasks import PartialObservation
from diffsim.trainers.cli import COMMANDS as CLI
from diffsim.trainers.cli import load
from diffsim.trainers.compare.compare import CompareOptions
from diffsim.trainers.examine.report import ReportOptions
from diffsim.trainers.experience.hindsight import HindsightReplay
from diffsim.trainers.gradients.options import GradientOptions
from diffsim.trainers.model_based.planner import CEMPlanner
from diffsim.trainers.run.arguments import RunOptions, parameters_of
from diffsim.trainers.run.collect_command import CollectOptions
from diffsim.trainers.run.compile_command import CompileOptions
from diffsim.trainers.run.fit_model import FitModelOptions
from diffsim.trainers.run.registry import ALGORITHMS, POLICIES, choose
from diffsim.trainers.sweep.sweep import SweepOptions
from tests.trainers.option_reads import unread, watch
from tests.trainers.q_learners import make
from tests.trainers.small_envs import Chain, Target, vector

ROOT = Path(diffsim.__file__).parent
SEARCHES = [name for name, module in ALGORITHMS.items() if ".black_box." in module and not name.startswith("Step")]
OF_SEARCHES = {
    "CEM": {"population": 4, "elite_fraction": 0.5},
    "MuLambdaES": {"population": 4, "mu": 2},
    "RWR": {"population": 4, "weights": "exponential"},
}
CONSTRUCTED = [*(choose("policy", name, POLICIES) for name in POLICIES), WorldModel, ModelFit, CEMPlanner]
CONSTRUCTED += [HindsightReplay]
COMMANDS = [RunOptions, CollectOptions, FitModelOptions, GradientOptions, PartialObservation]
COMMANDS += [CompileOptions, CompareOptions, ReportOptions, SweepOptions]


@pytest.mark.parametrize("name", SEARCHES)
def test_a_search_reads_its_options(name, monkeypatch):
    cls, kind = choose("algorithm", name, ALGORITHMS), LinearPolicy
    reads = watch(monkeypatch)
    env = vector(Target, 4)
    policy = kind(env.single_observation_space, env.single_action_space).double()
    search = cls(env, policy, **OF_SEARCHES.get(name, {"population": 4} if "population" in cls.options else {}))
    for _ in range(2):
        search.train_iteration()
    assert not unread(cls, reads)


def test_the_actor_critic_reads_its_options(monkeypatch):
    cls = choose("algorithm", "ActorCritic", ALGORITHMS)
    reads = watch(monkeypatch)
    make(cls, GaussianMLP, vector(Chain, 2), steps=2).train_iteration()
    assert not unread(cls, reads)


def loaded(tree):
    """Names of attributes that are read in a tree, and texts, by which `getattr` and dictionaries read."""
    nodes = list(ast.walk(tree))
    names = {node.attr for node in nodes if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)}
    return names | {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def stored(assignment):
    """Pairs of attribute and name in assignments such as `self.a, self.b = x, y`."""
    for target in assignment.targets:
        pairs = [(target, assignment.value)]
        if isinstance(target, ast.Tuple) and isinstance(assignment.value, ast.Tuple):
            pairs = zip(target.elts, assignment.value.elts, strict=True)
        for place, value in pairs:
            if isinstance(place, ast.Attribute) and isinstance(value, ast.Name):
                yield place.attr, value.id


class Checks(ast.NodeTransformer):
    """Removes calls that check values, and loops over tables of values to check."""

    def visit_Call(self, node):
        name = getattr(node.func, "id", "")
        return ast.Constant(None) if name.startswith("check") or name == "require" else self.generic_visit(node)

    def visit_For(self, node):
        checks = any(getattr(n.func, "id", "").startswith("check") for n in ast.walk(node) if isinstance(n, ast.Call))
        return ast.Pass() if checks else self.generic_visit(node)


def without_checks(tree):
    return Checks().visit(copy.deepcopy(tree))


def idle_arguments(cls, sources=None):
    """Arguments of constructors that are not used, or stored in an attribute that no module of the classes reads."""
    family = [c for c in cls.__mro__ if c is cls or c.__module__.startswith("diffsim")]
    sources = [sys.modules[c.__module__] for c in family] if sources is None else sources
    trees = [ast.parse(textwrap.dedent(inspect.getsource(source))) for source in sources]
    reads = set().union(*(loaded(tree) for tree in trees))
    uses = set()
    for c in (c for c in family if "__init__" in vars(c)):
        body = ast.parse(textwrap.dedent(inspect.getsource(c.__init__)))
        pairs = [pair for node in ast.walk(body) if isinstance(node, ast.Assign) for pair in stored(node)]
        names = [node.id for node in ast.walk(without_checks(body)) if isinstance(node, ast.Name)]
        for name in set(names):
            attributes = [attribute for attribute, value in pairs if value == name]
            if names.count(name) > len(attributes) or any(attribute in reads for attribute in attributes):
                uses.add(name)
    kinds = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    return {name for name, p in parameters_of(cls).items() if p.kind not in kinds} - uses - {"self"}


@pytest.mark.parametrize("cls", CONSTRUCTED, ids=lambda cls: cls.__name__)
def test_a_constructor_uses_its_arguments(cls):
    assert not idle_arguments(cls)


class Idle:
    def __init__(self, used, kept, lost, *, read):
        check_values(">= 0", kept=kept, lost=lost)
        self.kept, self.read = kept, read
        print(used)

    def method(self):
        return self.read


def test_an_idle_argument_is_found():
    """Negative control."""
    assert idle_arguments(Idle, [Idle]) == {"kept", "lost"}


@pytest.mark.parametrize("cls", COMMANDS, ids=lambda cls: cls.__name__)
def test_a_command_reads_its_options(cls):
    """In a module that names the class, and not in its checks."""
    reads = set()
    for path in [path for folder in ("trainers", "tasks") for path in (ROOT / folder).rglob("*.py")]:
        text = path.read_text()
        if cls.__name__ in text or (cls is RunOptions and path.parent.name == "run"):
            tree = ast.parse(text)
            checks = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) and n.name == "__post_init__"]
            for node in checks:
                node.body = [ast.Pass()]
            reads |= {n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute)}
            reads |= {n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)}
    assert not {field.name for field in fields(cls)} - reads


@pytest.mark.parametrize("command", CLI)
def test_a_command_reads_the_arguments_that_it_adds(command):
    """In its own function; classes of options that it adds are among those tested above."""
    tree = ast.parse(inspect.getsource(load(command)))
    nodes = list(ast.walk(tree))
    calls = [node for node in nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)]
    added = [c.args[0] for c in calls if c.func.attr == "add_argument" and isinstance(c.args[0], ast.Constant)]
    names = {str(name.value).removeprefix("--") for name in added} - {"config", "resume"}  # read from argv
    parsed = [node for node in nodes if isinstance(node, ast.Assign) and "parse(" in ast.unparse(node.value)]
    places = {ast.unparse(target) for node in parsed for target in node.targets} | {"parse(parser, argv)"}
    assert not names - {n.attr for n in nodes if isinstance(n, ast.Attribute) and ast.unparse(n.value) in places}
    classes = {ast.unparse(c.args[0]) for c in calls if c.func.attr == "add_class_arguments"}
    assert not classes - {cls.__name__ for cls in [*COMMANDS, *CONSTRUCTED]}
