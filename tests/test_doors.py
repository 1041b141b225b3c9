"""A person's own modules, in their own folder outside the repository, work with every command."""

import csv
import os
import shutil
from pathlib import Path

import pytest
import yaml

from tests.processes import run

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
COMMAND = shutil.which("diffsim") or ""

OWN_ENV = '''
"""A point on a line, to be pushed to the origin: an environment of my own."""
import gymnasium
import numpy as np
from gymnasium.spaces import Box


class Line(gymnasium.Env):
    observation_space = Box(-np.inf, np.inf, (1,), np.float64)
    action_space = Box(-1.0, 1.0, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.x = self.np_random.uniform(-1, 1, 1)
        return self.x.copy(), {}

    def step(self, action):
        self.x = self.x + 0.1 * np.asarray(action, dtype=float)
        return self.x.copy(), -float(self.x[0] ** 2), False, False, {}


gymnasium.register("Line-v0", Line, max_episode_steps=20)
'''

OWN_MODEL = '''
"""A world model of my own: dynamics that learn the change of the observation without hidden layers."""
from diffsim.models import WorldModel


class LinearModel(WorldModel):
    """Linear dynamics."""

    def __init__(self, obs_size, action_size, *, num_members=2):
        super().__init__(obs_size, action_size, num_members=num_members, num_elites=1, hidden_sizes=())
'''

SMALL = ["--num_envs", "2", "--evaluate_every", "1", "--evaluate_episodes", "1", "--final_episodes", "1"]
FIT_MODEL = ["--initial_steps", "60", "--steps_per_iteration", "20", "--updates_per_iteration", "1"]
FIT_MODEL += ["--fit_kwargs", '{"max_epochs": 2}', "--num_branches", "4", "--improver_kwargs", '{"horizon": 4}']
PEOPLE = {
    "algorithm": ["--task", "Reacher-v5", "--algorithm", "own_algorithm:FirstSteps", "--horizon", "4"],
    "task": ["--task", "own_task:CartBalance-v0", "--algorithm", "SHAC", "--horizon", "4"],
    "policy": ["--task", "Reacher-v5", "--algorithm", "BPTT", "--policy", "own_policy:LinearPolicy", "--scale", "0.05"],
    "environment": ["--task", "own_env:Line-v0", "--algorithm", "PPO", "--horizon", "20"],
    "model": ["--task", "own_env:Line-v0", "--algorithm", "ModelBased", "--model", "own_model:LinearModel", *FIT_MODEL],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A person's folder, with packages of their own whose names are common in research code."""
    path = tmp_path_factory.mktemp("person")
    for name in ("models", "policies", "trainers"):
        (path / name).mkdir()
        (path / name / "__init__.py").write_text("raise ImportError('the person\\'s own package must not be imported')")
    for name in ("own_algorithm.py", "own_policy.py", "own_task.py", "cart_balance.xml"):
        shutil.copy(EXAMPLES / name, path)
    (path / "own_env.py").write_text(OWN_ENV)
    (path / "own_model.py").write_text(OWN_MODEL)
    return path


def diffsim(folder, *words):
    """Runs the installed command in a folder, in a process of its own. Returns what it printed."""
    return run(COMMAND, *words, cwd=folder, check=True).stdout


def as_options(words):
    """Words of the command line as a comparison's options."""
    return {name.removeprefix("--"): yaml.safe_load(value) for name, value in zip(words[::2], words[1::2], strict=True)}


@pytest.mark.parametrize("own", PEOPLE)
def test_what_is_ones_own_is_trained_evaluated_and_resumed(folder, own):
    output = diffsim(folder, "fit", *PEOPLE[own], *SMALL, "--iterations", "2", "--run", own)
    assert "official return, 1 episodes" in output
    assert "official return, 2 episodes" in diffsim(folder, "evaluate", own, "--episodes", "2")
    assert "official return, 1 episodes" in diffsim(folder, "fit", "--resume", own, "--iterations", "3")
    with (folder / own / "metrics.csv").open() as file:
        assert [row["iteration"] for row in csv.DictReader(file)] == ["1", "2", "3"]


COMPARE = """
from diffsim.trainers.cli import main
from diffsim.trainers.compare import compare
from tests.trainers.compare.in_process import InProcess
compare.make_launcher = lambda name: InProcess()
assert main(["compare", "own.yaml", "--output", "compared"]) == 0
"""


def test_what_is_ones_own_is_compared(folder):
    """In one process, for speed: `tests/trainers/compare/test_own_modules.py` has a run in a process of its own."""
    algorithms = {own: {**as_options(words), "env_steps": 10} for own, words in PEOPLE.items()}
    task_of = {own: options.pop("task") for own, options in algorithms.items()}
    tasks = {task: {"skip": [own for own in PEOPLE if task_of[own] != task]} for task in task_of.values()}
    options = {**as_options(SMALL), "evaluate_every_steps": 5}
    del options["evaluate_every"]
    comparison = {"seeds": [0], "options": options, "tasks": tasks, "algorithms": algorithms}
    (folder / "own.yaml").write_text(yaml.safe_dump(comparison))
    output = run("-c", COMPARE, cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True).stdout
    report = (folder / "compared" / "report" / "report.md").read_text()
    assert "failed" not in output
    for own, task in task_of.items():
        assert f"| [{task.replace(':', '-')}-{own}-seed-0](" in report
    assert report.count("| finished |") == len(PEOPLE)


@pytest.mark.parametrize("example", ["own_algorithm", "own_model", "own_policy", "own_task"])
def test_the_examples_are_short(example):
    lines = [line for line in (EXAMPLES / f"{example}.py").read_text().splitlines() if line.strip()]
    assert len(lines) < 45


def test_a_misspelled_class_is_refused_before_anything_is_written(folder):
    words = ["fit", "--task", "Reacher-v5", "--algorithm", "own_algorithm:FirstStep", "--run", "wrong"]
    result = run(COMMAND, *words, cwd=folder)
    assert result.returncode == 2 and "did you mean FirstSteps?" in result.stderr
    assert not (folder / "wrong").exists()


def test_from_python_in_five_lines(tmp_path):
    code = """
import diffsim
from diffsim.policies import DeterministicMLP
from diffsim.trainers import SHAC, evaluate, fit, load_policy
mdp = diffsim.make("InvertedDoublePendulum-v5", num_envs=4)
policy = DeterministicMLP(mdp.observation_space, mdp.action_space).to(mdp.dtype)
run = fit(SHAC(mdp, policy, horizon=4), iterations=2, folder="mine", progress=False)
again = SHAC(mdp, DeterministicMLP(mdp.observation_space, mdp.action_space).to(mdp.dtype), horizon=4)
rows = fit(again, iterations=3, folder="mine", resume=True, progress=False).read_metrics()
assert [row["iteration"] for row in rows] == [1, 2, 3]
fresh = DeterministicMLP(mdp.observation_space, mdp.action_space).to(mdp.dtype)
act = load_policy("mine", fresh)
assert all(p.requires_grad for p in fresh.parameters())  # the argument is copied
trained = again.policy.state_dict()
assert all((value == trained[name]).all() for name, value in act.policy.state_dict().items())
episodes = evaluate(act.policy, "InvertedDoublePendulum-v5", episodes=3)
assert episodes.returns.shape == (3,) and act([0.0] * 9).shape == (1,) and act([[0.0] * 9] * 2).shape == (2, 1)
"""
    run("-c", code, cwd=tmp_path, check=True)
    result = run(COMMAND, "fit", "--resume", "mine", "--iterations", "4", cwd=tmp_path)
    assert result.returncode == 2 and "one made from Python needs fit(..., resume=True)" in result.stderr
