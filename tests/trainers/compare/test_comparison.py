"""The YAML file of a comparison, and the list of all its faults before any run starts."""

from pathlib import Path

import pytest
import yaml

from diffsim.trainers.cli import main
from diffsim.trainers.compare.comparison_file import find_comparison, read_comparison, save_comparison
from diffsim.trainers.errors import UsageError
from diffsim.trainers.run.arguments import parse_fit
from diffsim.trainers.run.registry import ALGORITHMS

ROOT = Path(__file__).parents[3]
READY = sorted(path for path in (ROOT / "configs" / "compare").glob("*.yaml") if path.name != "references.yaml")


def read(tmp_path, text):
    (tmp_path / "c.yaml").write_text(text)
    return read_comparison(tmp_path / "c.yaml", tmp_path / "out")


GOOD = """
seeds: [3, 4]
options: {env_steps: 200, gamma: 0.9, num_envs: 2}
tasks:
  Reacher-v5:
    thresholds: [-5]
    score_range: [-40, -4]
    options: {num_envs: 3, gamma: 0.8}
    algorithms: {SHAC: {gamma: 0.6}}
  Swimmer-v5: {skip: [long]}
algorithms:
  SHAC: {gamma: 0.7, config: own.yaml}
  long: {algorithm: BPTT, horizon: 50}
"""


def test_later_places_override_earlier_ones_and_config_files(tmp_path):
    own = {"task": "Hopper-v5", "env_steps": 9, "evaluate_every": 7, "seed": 5, "gamma": 0.1, "lam": 0.2}
    (tmp_path / "own.yaml").write_text(yaml.safe_dump({**own, "decay_env_steps": "budget"}))
    found = read(tmp_path, GOOD)
    assert not found.faults
    cells = {run.cell: dict(run.options) for run in found.runs}
    shac = {"gamma": 0.6, "lam": 0.2, "num_envs": 3, "env_steps": 200, "decay_env_steps": 200}
    assert cells["Reacher-v5", "SHAC"] == {**shac, "evaluate_every_steps": 20, "evaluate_stochastic": True}
    assert cells["Swimmer-v5", "SHAC"]["gamma"] == 0.7 and cells["Swimmer-v5", "SHAC"]["num_envs"] == 2
    assert cells["Reacher-v5", "long"]["gamma"] == 0.8, "the task's options override those of all runs"
    assert ("Swimmer-v5", "long") not in cells
    assert [(run.seed, run.label) for run in found.runs] == [(3, "SHAC"), (3, "long"), (3, "SHAC")] + [
        (4, "SHAC"),
        (4, "long"),
        (4, "SHAC"),
    ]
    assert found.thresholds["Reacher-v5"] == [-5] and found.score_range == {"Reacher-v5": [-40, -4]}
    assert found.runs[1].algorithm == "BPTT" and found.baseline == "SHAC"


def test_fit_parses_the_arguments_of_a_run(tmp_path):
    text = "options: {env_steps: 200}\ntasks: [Reacher-v5]\nalgorithms:\n  SAC: {hidden_sizes: [8, 9], num_envs: 2}\n"
    (run,) = read(tmp_path, text).runs
    values = parse_fit(run.arguments())
    assert (values.task, values.algorithm, values.seed, values.hidden_sizes) == ("Reacher-v5", "SAC", 0, [8, 9])
    assert (values.env_steps, values.evaluate_every_steps, values.evaluate_stochastic) == (200, 20, True)


def test_nested_options_reach_fit_unchanged(tmp_path):
    kwargs = "{termination_bounds: {1: 1.5}, gamma: 1, clip_ratio: null, learning_rate: 1.0e-5}"
    text = (
        f"options: {{env_steps: 200}}\ntasks: [Reacher-v5]\nalgorithms:\n  ModelBased: {{improver_kwargs: {kwargs}}}\n"
    )
    (run,) = read(tmp_path, text).runs
    wanted = {"termination_bounds": {1: 1.5}, "gamma": 1, "clip_ratio": None, "learning_rate": 1e-5}
    assert parse_fit(run.arguments()).improver_kwargs == wanted


def test_a_copy_is_read_like_the_file_without_its_config_files(tmp_path):
    (tmp_path / "own.yaml").write_text("lam: 0.2\ndecay_env_steps: budget\n")
    before = read(tmp_path, GOOD)
    (tmp_path / "out").mkdir()
    save_comparison(tmp_path / "c.yaml", tmp_path / "out")
    after = read_comparison(find_comparison(tmp_path / "out"), tmp_path / "out")
    assert not after.faults
    assert [(run.cell, run.seed, run.options) for run in before.runs] == [
        (run.cell, run.seed, run.options) for run in after.runs
    ]


def test_a_folder_without_a_comparison_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"DIR must be the folder of a comparison, with its comparison\.yaml"):
        find_comparison(tmp_path)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("seeds: [1, 1]\n", "seeds must be a list of different integers >= 0, got [1, 1]"),
        ("seeds: [-1]\n", "seeds must be a list of different integers >= 0, got [-1]"),
        ("seed: [1]\n", "unknown key seed; valid: seeds, options"),
        ("tasks: 3\n", "tasks must be a mapping or a list of names, got 3"),
        ("algorithms: {}\n", "algorithms must name at least one, got none"),
        ("tasks: {Reacher-v5: {score_range: [1, 0]}}\n", "Reacher-v5: score_range must be two rising numbers"),
        ("tasks: {Reacher-v5: {thresholds: 3}}\n", "Reacher-v5: thresholds must be a list of numbers, got 3"),
        ("tasks: {Reacher-v5: {budget: 3}}\n", "Reacher-v5: unknown key budget; valid: thresholds"),
        ("tasks: {Reacher-v5: {skip: [TD3]}}\n", "Reacher-v5: skip must be among the comparison's, got 'TD3'"),
        ("tasks: {Reacher-v5: {algorithms: {PPO: {}}}}\n", "Reacher-v5: algorithms must be among the comparison's"),
        ("options: {seed: 3}\n", "options: seed is not an option of a comparison"),
        ("algorithms: {BPTT: {config: none.yaml}}\n", "BPTT: config must be a file, got 'none.yaml'"),
        ("algorithms: {BPTT: 3}\n", "BPTT: must be a mapping of options, got 3"),
        ("algorithms: {a b: {}, a-b: {}}\n", "two runs would be called Reacher-v5-a-b-seed-0"),
        ("baseline: PPO\n", "baseline must be one of BPTT, got 'PPO'"),
        ("references: none.yaml\n", "references must be a file beside the comparison, got 'none.yaml'"),
    ],
)
def test_faults_of_the_file(tmp_path, text, fault):
    whole = {"tasks": ["Reacher-v5"], "algorithms": ["BPTT"], **yaml.safe_load(text)}
    assert any(found.startswith(fault) for found in read(tmp_path, yaml.safe_dump(whole)).faults)
    good = {"tasks": ["Reacher-v5"], "algorithms": ["BPTT"]}
    assert not read(tmp_path, yaml.safe_dump(good)).faults, "negative control"


FAULTY = """
options: {env_steps: 100}
tasks: {InvertedPendulum-v5: {}, Pendulum-v1: {}, Reacher-v5: {}}
algorithms:
  PPPO: {}
  PPO: {policy: CategoricalMLP}
  BPTT: {}
  A2C: {env_steps: 0}
  TD3: {tao: 3, horizn: 4}
  TRPO: {gamma: 1.5}
  fine: {algorithm: Reinforce}
"""


def test_all_faults_are_listed_at_once_and_no_run_starts(tmp_path, capsys):
    """The most frequent faults: names, kinds of actions, gradients, budgets, options."""
    (tmp_path / "c.yaml").write_text(FAULTY)
    assert main(["compare", str(tmp_path / "c.yaml"), "--output", str(tmp_path / "out")]) == 2
    lines = capsys.readouterr().err.splitlines()
    everywhere = "InvertedPendulum-v5, Pendulum-v1, Reacher-v5: "
    for start in (
        f"{everywhere}PPPO: algorithm must be one of BPTT, ",
        f"{everywhere}PPO: action_space must be ",
        "InvertedPendulum-v5: BPTT: the reward must depend on the actions; the reward of this task has no gradient",
        "Pendulum-v1: BPTT: algorithm must be one that needs no derivatives, such as PPO, TRPO, SAC, ",
        f"{everywhere}A2C: env_steps must be a budget > 0, got 0",
        f"{everywhere}TD3: unknown option tao",
        f"{everywhere}TD3: unknown option horizn",
        f"{everywhere}TRPO: gamma must be in (0, 1], got 1.5",
    ):
        assert sum(line.startswith(f"  - {start}") for line in lines) == 1, (start, lines)
    assert "8 fault(s); no run was started" in lines[0] and len(lines) == 9
    assert not (tmp_path / "out").exists()


def test_check_without_faults(tmp_path, capsys):
    text = "options: {env_steps: 100}\ntasks: [Reacher-v5]\nalgorithms: [BPTT, PPO]\n"
    (tmp_path / "c.yaml").write_text(text)
    words = ["compare", str(tmp_path / "c.yaml"), "--output", str(tmp_path / "out"), "--check", "true"]
    assert main(words) == 0 and "2 runs, no faults" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["pendulums", "locomotion"])
def test_large_comparisons_have_every_gradient_for_continuous_actions(name, tmp_path):
    found = read_comparison(ROOT / "configs" / "compare" / f"{name}.yaml", tmp_path)
    assert len(found.tasks) == 3
    names = {name for name, module in ALGORITHMS.items() if ".black_box." not in module} - {"DQN", "SCG"}
    names -= {"CrossQ"}  # its critics of 2,048 units take hours
    assert {run.algorithm for run in found.runs} == names
    assert len({run.cell for run in found.runs}) == 3 * len(names)


def test_the_comparison_of_searches_has_all_of_them(tmp_path):
    found = read_comparison(ROOT / "configs" / "compare" / "search.yaml", tmp_path)
    assert len(found.tasks) == 3
    names = {name for name, module in ALGORITHMS.items() if ".black_box." in module}
    assert {run.algorithm for run in found.runs} == names
    assert len({run.cell for run in found.runs}) == 3 * len(names)


@pytest.mark.parametrize("path", READY, ids=lambda path: path.stem)
def test_shipped_comparisons_are_valid(path, tmp_path):
    """The options of every cell are known and have the right types. `diffsim compare --check true` also builds them."""
    found = read_comparison(path, tmp_path)
    assert not found.faults
    seen = set()
    for run in found.runs:
        words = run.arguments()
        options = frozenset(word for word in words if not word.startswith(("--task=", "--seed=", "--run=")))
        if options not in seen:
            assert parse_fit(words).env_steps == run.env_steps
        seen.add(options)
