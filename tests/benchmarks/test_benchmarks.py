"""The benchmarks of training run as programs and write tables, with small sizes."""

import importlib
import re
from pathlib import Path

import numpy as np
import pytest

from benchmarks import collisions, helicopter, pathwise, pong, walk
from benchmarks.command import RESULTS
from benchmarks.goals import Result as GoalResult
from benchmarks.goals import main as goals
from benchmarks.goals import report as goals_page
from benchmarks.goals import save as save_goals
from benchmarks.pathwise import Row as PathwiseRow
from benchmarks.pathwise import digest
from benchmarks.runs import fit_arguments, read_rows, train, write_rows
from benchmarks.tetris import main as tetris
from diffsim.trainers.run.run_folder import RunFolder
from tests.benchmarks.running import cells, forked_runs, records, run

__all__ = ["forked_runs"]


@pytest.mark.parametrize(
    "module",
    [
        *(
            "collisions",
            "ensemble",
            "goals",
            "gpu",
            "gradients",
            "helicopter",
            "laboratory",
            "model_free",
            "off_policy",
        ),
        *("hybrid", "onset", "parity", "pathwise", "pegasus", "physics", "pong", "relaxed", "robots"),
        *("simulated", "tetris", "walk"),
    ],
)
def test_help(module, capsys):
    with pytest.raises(SystemExit, match="0"):
        importlib.import_module(f"benchmarks.{module}").main(["--help"])
    assert f"python -m benchmarks.{module}" in capsys.readouterr().out


def test_pathwise(tmp_path, forked_runs, capsys):
    arguments = ["--tasks", "Reacher-v5", "--budgets", 1024, "--seeds", 3, "--runs", tmp_path / "runs"]
    pathwise.main([*map(str, arguments), "--output", str(tmp_path)])
    output = capsys.readouterr().out
    (row,) = records(tmp_path / "runs.csv")
    assert (row["task"], row["budget"], row["seed"], row["env_steps"]) == ("Reacher-v5", "1024", "3", "1024")
    page = (tmp_path / "pathwise.md").read_text()
    (line,) = re.findall(r"^\| Reacher-v5 \|.*$", output, re.M)
    assert line in page and cells(line)[3].startswith(f"3: {float(row['mean']):,.0f}")
    before = (tmp_path / "runs.csv").read_text()
    pathwise.main([*map(str, arguments), "--output", str(tmp_path)])
    assert (tmp_path / "runs.csv").read_text() == before  # finished runs are not repeated: their seconds would differ


def test_recorded_rows_of_pathwise_belong_to_the_current_configs():
    rows = read_rows(PathwiseRow, RESULTS / "pathwise" / "runs.csv")
    assert len(rows) == 60 and all(row.config == digest(row.task, row.budget) for row in rows)


def test_rows_survive_a_file(tmp_path):
    rows = [GoalResult("a", True, 0, 10, 0.1234, 1 / 3), GoalResult("b", False, 1, 20, 1.0, 2.0)]
    write_rows(rows, tmp_path / "rows.csv")
    assert read_rows(GoalResult, tmp_path / "rows.csv") == rows
    write_rows(rows, tmp_path / "rows.csv", lambda value: round(value, 2))
    assert [row.minutes for row in read_rows(GoalResult, tmp_path / "rows.csv")] == [0.33, 2.0]
    assert read_rows(GoalResult, tmp_path / "none.csv") == []


def test_a_run_goes_on_to_a_larger_budget_and_a_finished_one_is_left_alone(tmp_path, forked_runs):
    folder = RunFolder(tmp_path / "run")
    options = {"task": "Reacher-v5", "algorithm": "BPTT", "num_envs": 2, "horizon": 4, "hidden_sizes": [4]}
    train(folder, {**options, "final_episodes": 2}, 16)
    first = folder.final.stat().st_mtime_ns
    train(folder, options, 16)
    assert folder.final.stat().st_mtime_ns == first and folder.read_metrics()[-1]["env_steps"] == 16
    train(folder, options, 32)
    assert folder.read_metrics()[-1]["env_steps"] == 32 and folder.final.stat().st_mtime_ns > first
    with pytest.raises(RuntimeError, match="failed"):
        train(RunFolder(tmp_path / "wrong"), {"horizon": -1}, 16)


def test_pegasus(tmp_path):
    arguments = ["--scenarios", 1, 4, "--seeds", 1, "--iterations", 2, "--output", tmp_path]
    output = run("pegasus", *arguments)
    assert output.count("Result(") == 2 and (tmp_path / "pegasus.png").stat().st_size > 10_000
    rows = [cells(line) for line in re.findall(r"^\| [14] \|.*$", (tmp_path / "pegasus.md").read_text(), re.M)]
    assert [row[0] for row in rows] == ["1", "4"]
    for row in rows:
        own, fresh, gap = (float(cell.split(" ± ")[0]) for cell in row[1:4])
        assert gap == pytest.approx(own - fresh, abs=0.02)


def test_pong_reports_the_rise_of_the_moving_average(tmp_path):
    score = [-21.0] * 10 + [-20.0] * 10 + [-17.0] * 10
    rows = [{"return": value, "env_steps": 100 * (i + 1), "seconds": 6.0 * (i + 1)} for i, value in enumerate(score)]
    (line,) = re.findall(r"^\| 30 \|.*$", pong.report(rows, 4), re.M)
    assert cells(line) == ["30", "120", "3,000", "3.0", "-21.00", "-17.00", "+4.00", "-17.00"]
    assert pong.smooth(np.array([1.0, 3.0])).tolist() == [2.0]
    pong.draw(np.arange(30.0), np.array(score), tmp_path / "pong.png")
    assert (tmp_path / "pong.png").stat().st_size > 10_000


def test_goals_writes_the_success_rate_of_the_final_episodes(tmp_path, forked_runs):
    arguments = ["--tasks", "bit_flip", "--seeds", "1", "--env_steps", "400"]
    goals([*arguments, "--runs", str(tmp_path / "runs"), "--output", str(tmp_path)])
    plain, hindsight = sorted(records(tmp_path / "runs.csv"), key=lambda row: row["hindsight"])
    for row, name in ((plain, "plain"), (hindsight, "hindsight")):
        episodes = records(tmp_path / "runs" / f"bit_flip-{name}-400-seed-0" / "final.csv")
        assert len(episodes) == 100 and [episode["seed"] for episode in episodes[:2]] == ["1000000", "1000001"]
        assert float(row["success"]) == pytest.approx(np.mean([float(episode["success"]) for episode in episodes]))
        assert all((float(e["return"]) > -int(e["length"])) == (e["success"] == "1") for e in episodes)


def test_goals_table_says_whether_the_rates_are_reached(tmp_path):
    results = [GoalResult("bit_flip", True, seed, 40_000, success, 1.0) for seed, success in enumerate((1.0, 0.94))]
    results += [
        GoalResult("bit_flip", False, 0, 40_000, 0.2, 1.0),
        GoalResult("fetch_reach", True, 0, 20_000, 0.9, 9.0),
        GoalResult("fetch_reach", True, 0, 500, 0.1, 1.0),
    ]
    lines = [cells(line) for line in goals_page(results).splitlines() if line.startswith("| ") and "0" in line]
    assert lines == [
        ["BitFlip15-v0", "future, 0.8", "40,000", "1.00, 0.94", "0.97", ">= 0.9: yes", "2"],
        ["BitFlip15-v0", "none", "40,000", "0.20", "0.20", "< 0.1: no", "1"],
        ["FetchReach-v4", "future, 0.8", "500", "0.10", "0.10", ">= 0.95: no", "1"],
        ["FetchReach-v4", "future, 0.8", "20,000", "0.90", "0.90", ">= 0.95: no", "9"],
    ]
    save_goals(results, tmp_path)
    assert read_rows(GoalResult, tmp_path / "runs.csv") == results


def test_options_become_arguments_of_fit():
    options = {"run": Path("there"), "seed": 3, "sizes": [4, 4], "compile": True, "strategy": None, "task": "A-v0"}
    words = ["--run=there", "--seed=3", "--sizes=[4, 4]", "--compile=true", "--strategy=null", "--task=A-v0"]
    assert fit_arguments(options) == words


def test_tetris_keeps_what_an_earlier_call_finished(tmp_path):
    arguments = ["--seeds", "1", "--hand_games", "0", "--speed_seconds", "0.05", "--output", str(tmp_path)]
    tetris([*arguments, "--methods", "none", "--iterations", "10"])
    first = records(tmp_path / "tetris.csv")
    assert [int(row["iteration"]) for row in first] == list(range(1, 11))
    assert float(first[-1]["mean"]) > 5 * float(first[0]["mean"])
    tetris([*arguments, "--methods", "none", "rwr", "--iterations", "5"])
    assert records(tmp_path / "tetris.csv")[:10] == first
    assert {row["method"] for row in records(tmp_path / "tetris.csv")} == {"CEM, no noise", "RWR"}
    lines = [cells(line) for line in (tmp_path / "tetris.md").read_text().splitlines()]
    assert [line[1] for line in lines if line[0] == "CEM, no noise"] == ["10"] and (tmp_path / "tetris.png").exists()


def test_helicopter_flies_fresh_scenarios(tmp_path, monkeypatch):
    monkeypatch.setattr(helicopter, "FRESH", 2)
    monkeypatch.setattr(helicopter.diffsim.tasks.HelicopterHover, "max_episode_steps", 40)
    monkeypatch.setitem(helicopter.METHODS, "BPTT", (helicopter.METHODS["BPTT"][0], 1))
    helicopter.main(["--methods", "BPTT", "--output", str(tmp_path)])
    rows = read_rows(helicopter.Row, tmp_path / "helicopter.csv")
    assert [row.method for row in rows] == ["the competition's controller", "BPTT"]
    assert rows[0].crashes == 0 and -20 < rows[0].mean < 0 and rows[1].env_steps == 30 * 50


def test_collisions_of_spheres(tmp_path):
    collisions.main(["--states", "6", "--only", "plane", "sphere", "--output", str(tmp_path)])
    rows = read_rows(collisions.Row, tmp_path / "collisions.csv")
    assert {row.pair for row in rows} == {"plane–sphere", "sphere–sphere"} and len(rows) == 2 * 3
    for row in rows:
        assert row.same == 1 and row.largest < 1e-14 and row.gradient_90 < 1e-8 and row.smooth >= 3


def test_walk_measures_a_robot_that_stands(tmp_path, monkeypatch):
    home = np.tile([0, 0.9, -1.8], 4)
    monkeypatch.setattr(walk, "load_policy", lambda run: lambda obs: home)
    monkeypatch.setattr(walk, "COMMANDS", ((0.3, 0.4, 0.2),))
    monkeypatch.setattr(walk, "SETTLED", 20)
    monkeypatch.setattr(walk.TASKS["Go1Walk-v0"], "max_episode_steps", 40)
    monkeypatch.setattr(RunFolder, "read_metrics", lambda folder: [{"env_steps": 0.0, "seconds": 0.0}])
    monkeypatch.setattr(RunFolder, "read_config", lambda folder: {"task": "Go1Walk-v0"})
    walk.main([str(tmp_path), "--episodes", "1", "--drawn", "1", "--output", str(tmp_path)])
    rows = [cells(line) for line in (tmp_path / "Go1Walk-v0.md").read_text().splitlines() if line[:1] == "|"]
    assert [row[0] for row in rows[-5:]] == [*walk.CHANGES, "0.3, 0.4, 0.2"]
    *errors, way = (float(text) for text in rows[-1][2:6])
    np.testing.assert_allclose(errors, [0.5, 0.5, 0.2], atol=0.02)
    assert way < 0.1 and rows[-1][6] == "0/1"
