"""Comparisons of a person's own algorithms and tasks, from modules of the current folder."""

import pytest

from diffsim.trainers.compare.comparison_file import short_labels
from diffsim.trainers.compare.launchers import LocalLauncher
from diffsim.trainers.compare.pictures import overall
from diffsim.trainers.compare.report import write_report
from diffsim.trainers.compare.results import Results, load
from diffsim.trainers.run import arguments
from diffsim.trainers.run.run_folder import write_table
from tests.trainers.compare.small import OWN, finish, read


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        (["SHAC", "mine:Mine"], ["SHAC", "Mine"]),
        (["SHAC", "mine:SHAC"], ["SHAC", "mine:SHAC"]),
        (["mine:Mine", "package.yours:Mine"], ["mine:Mine", "package.yours:Mine"]),
        (["SHAC: long windows"], ["SHAC: long windows"]),
    ],
)
def test_labels_are_class_names_unless_these_are_ambiguous(names, labels):
    assert list(short_labels(dict.fromkeys(names)).values()) == labels
    assert short_labels({"a:b": {"algorithm": "SHAC"}}) == {"a:b": "a:b"}, "a label of its own stays"


def test_own_names_give_safe_folders_and_short_labels(tmp_path):
    found = read(tmp_path, tasks=["own:Line-v0", "diffsim/Reacher-v5"], algorithms=["PPO", "own.deep:Mine"])
    assert not found.faults and found.labels == ("PPO", "Mine")
    names = [run.folder.path.name for run in found.runs]
    assert names[1] == "own-Line-v0-Mine-seed-0" and names[2] == "diffsim-Reacher-v5-PPO-seed-0"
    assert "--algorithm=own.deep:Mine" in found.runs[1].arguments() and found.runs[1].algorithm == "own.deep:Mine"
    assert read(tmp_path, algorithms=["PPO", "own:Mine"], baseline="own:Mine").baseline == "Mine"


def test_the_report_groups_own_algorithms_by_their_family(tmp_path, monkeypatch):
    comparison = read(tmp_path, algorithms=["A2C", "own:Mine", "own:Plain"])
    for run in comparison.runs:
        run.folder.path.mkdir(parents=True)
        run.folder.write_metrics([{"env_steps": k, "seconds": k, "eval_seconds": 0, "eval/return": k} for k in (0, 20)])
        write_table(run.folder.final, [{"actions": "mean", "seed": 0, "return": 1.0}])
    classes = {"own:Mine": type("Mine", (), {"family": "evolution"}), "own:Plain": type("Plain", (), {})}

    def choose(option, name, modules):
        return arguments.choose(option, name, modules) if name in modules else classes[name]

    monkeypatch.setattr("diffsim.trainers.compare.results.choose", choose)
    results = Results(comparison, load(comparison))
    assert results.families() == {"Likelihood ratio": ["A2C"], "Other": ["Plain"], "Evolution": ["Mine"]}
    assert "Mine" in [label for label, *_ in overall(results)]
    folder = write_report(tmp_path).parent
    assert (folder / "curves-own-line-line-v0-evolution-env-steps.png").exists()
    assert "| Mine | 20 | 1/1 |" in (folder / "report.md").read_text()


def test_a_child_process_imports_modules_of_the_current_folder(tmp_path, monkeypatch):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "own_line.py").write_text(OWN)
    monkeypatch.chdir(tmp_path / "home")
    finish(LocalLauncher(), read(tmp_path).runs[0])
