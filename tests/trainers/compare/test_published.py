"""A published table beside a comparison with made-up runs, so that every number is known."""

from pathlib import Path

import numpy as np
import pytest
import yaml

from diffsim.trainers.compare.comparison_file import find_comparison, read_comparison, save_comparison
from diffsim.trainers.compare.measures import rank_correlation
from diffsim.trainers.compare.page import Grid, Text
from diffsim.trainers.compare.published import Published, read_rows
from diffsim.trainers.compare.published_report import published_blocks
from diffsim.trainers.compare.results import Results, load
from diffsim.trainers.run.arguments import parse_fit
from diffsim.trainers.run.run_folder import write_table

CONFIGS = Path(__file__).parents[3] / "configs" / "compare"
COMPARISON = {
    "seeds": [0, 1],
    "options": {"env_steps": 100},
    "tasks": {
        "Easy": {"task": "Swimmer-v5", "options": {"task_kwargs": {"max_episode_steps": 100}}},
        "Hard": {"task": "Swimmer-v5", "options": {"env_steps": 200}, "skip": ["PPO"]},
    },
    "algorithms": {"SHAC": {}, "TRPO": {}, "PPO": {}, "VPG": {"algorithm": "Reinforce"}},
    "published": {"table": "table.csv", "source": "A paper", "protocol": "5 seeds", "env_steps": 5000},
}
TABLE = "Task,Random,TRPO,PPO,VPG\nEasy,-1.0 ± 0.1,30.0 ± 1.0,20.0 ± 2.0,10.0 ± 0.5\nHard,0 ± 0,1 ± 0,2 ± 0,\n"
FINAL = {"SHAC": 50.0, "TRPO": 10.0, "PPO": 40.0, "VPG": 5.0}


@pytest.fixture
def written(tmp_path):
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(COMPARISON, sort_keys=False))
    (tmp_path / "table.csv").write_text(TABLE)
    return tmp_path / "c.yaml"


@pytest.fixture
def output(written, tmp_path):
    """Training returns of every run are FINAL / 2 (three episodes), no episode, then FINAL * 2 (one episode)."""
    output = tmp_path / "out"
    (output / "runs").mkdir(parents=True)
    save_comparison(written, output)
    for run in read_comparison(find_comparison(output), output).runs:
        run.folder.path.mkdir()
        run.folder.config.write_text(f"task: {run.task_id}\n")
        top = FINAL[run.label] + run.seed
        counts = {"seconds": 1.0, "eval_seconds": 0.5}
        evaluated = {"eval/return": 0.0, **counts}
        run.folder.write_metrics(
            [
                {"iteration": 0, "env_steps": 0, **evaluated},
                {"iteration": 1, "env_steps": 40, "return": top / 2, "episodes": 3, **counts},
                {"iteration": 2, "env_steps": 60, "episodes": 0, **counts},
                {"iteration": 3, "env_steps": 100, "return": top * 2, "episodes": 1, **evaluated},
            ]
        )
        write_table(run.folder.final, [{"actions": "mean", "seed": 0, "return": top}])
    return output


def rows_of(grid):
    return {row[0]: dict(zip(grid.header, row, strict=True)) for row in grid.rows}


def test_tables_by_hand(output):
    """The training return is (3 * F / 2 + 2 F) / 4 = 7 F / 8: with F = 10 and 11, 8.75 and 9.625, mean 9.1875.

    Our order TRPO 10.5, PPO 40.5, VPG 5.5 has ranks 2, 3, 1; published 3, 2, 1: d = 1, 1, 0 and
    1 - 6 * 2 / (3 * 8) = 0.5. Hard has one method with both numbers.
    """
    comparison = read_comparison(find_comparison(output), output)
    assert comparison.published is not None and not comparison.faults
    results = Results(comparison, load(comparison))
    blocks = published_blocks(results, comparison.published)
    training, final = [block for block in blocks if isinstance(block, Grid)]
    easy, hard = rows_of(training)["Easy"], rows_of(training)["Hard"]
    assert easy["TRPO"] == "9.19 ± 0.44 / 30.0 ± 1.00"
    assert easy["SHAC"] == "44.2 ± 0.44" and easy["random, published"] == "-1.00"
    assert easy["order"] == "0.50 of 3"
    assert hard["PPO"] == "- / 2.00 ± 0.00" and hard["VPG"] == "4.81 ± 0.44" and hard["order"] == ""
    assert rows_of(final)["Easy"]["TRPO"] == "10.5 ± 0.50 / 30.0 ± 1.00"
    assert rows_of(final)["Easy"]["order"] == "0.50 of 3"
    words = " ".join(block.text for block in blocks if isinstance(block, Text))
    assert "5,000 env steps" in words and "100 to 200 env steps" in words
    assert "Mean correlation of the order: 0.50, over 1 of 2 tasks" in words


def test_a_task_may_occur_with_several_settings(written, tmp_path):
    found = read_comparison(written, tmp_path / "out")
    assert found.tasks == ("Easy", "Hard")
    values = {run.cell: parse_fit(run.arguments()) for run in found.runs if run.label == "SHAC"}
    assert {value.task for value in values.values()} == {"Swimmer-v5"}
    assert values["Easy", "SHAC"].task_kwargs == {"max_episode_steps": 100}
    assert len({run.folder.path for run in found.runs}) == len(found.runs)


def test_rank_correlation_is_spearmans():
    assert rank_correlation([1.0, 2.0, 9.0], [3.0, 4.0, 5.0]) == pytest.approx(1.0)
    assert rank_correlation([1.0, 2.0, 3.0, 4.0], [4.0, 3.0, 2.0, 1.0]) == pytest.approx(-1.0)
    # Ties have their mean rank: ranks 1.5, 1.5, 3 and 1, 2, 3 have covariance 0.75 and variances 0.5 and 2 / 3.
    assert rank_correlation([5.0, 5.0, 7.0], [1.0, 2.0, 3.0]) == pytest.approx(0.5 / np.sqrt(0.5 * 2 / 3))
    assert np.isnan(rank_correlation([1.0, 2.0], [1.0, 2.0])) and np.isnan(rank_correlation([0.0] * 3, [1.0, 2.0, 3.0]))


def test_the_table_of_duan_is_the_paper_s():
    """Rows, columns and empty cells; cells that other sources of the paper's numbers give."""
    rows = read_rows(CONFIGS / "duan2016.csv")
    assert len(rows) == 28 and list(rows["Acrobot"]) == [
        *("Random", "REINFORCE", "TNPG", "RWR", "REPS", "TRPO", "CEM", "CMA-ES", "DDPG")
    ]
    assert rows["Cart-Pole Balancing"]["TRPO"] == Published(4869.8, 37.6)
    assert rows["Swimmer"]["TNPG"] == Published(96.0, 0.2) and rows["Swimmer"]["Random"] == Published(-1.7, 0.1)
    assert rows["Hopper"]["TRPO"] == Published(1183.3, 150.0)
    empty = {task: 9 - len(row) for task, row in rows.items() if len(row) < 9}
    partial = [f"{task} ({kind})" for kind in ("LS", "NO", "SI") for task in list(rows)[:4]]
    assert empty == {**dict.fromkeys(["Full Humanoid", *partial, "Ant + Gathering", "Ant + Maze"], 1)}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"table": "none.csv"}, "table must be a file beside the comparison, got 'none.csv'"),
        ({"env_steps": "many"}, "published must have the keys table, source, protocol, env_steps"),
    ],
)
def test_faults_of_the_table_are_listed(written, tmp_path, changes, message):
    published = {**COMPARISON["published"], **changes}
    written.write_text(yaml.safe_dump({**COMPARISON, "published": published}))
    assert any(message in fault for fault in read_comparison(written, tmp_path).faults)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Task,A\nEasy,1 ± 0\nHard,1\n", "a cell must be like 1.5 ± 0.2, got '1'"),
        ("Task,A\nEasy,1 ± 0,3 ± 0\n", "Easy: must have 2 cells, got 3"),
        ("Task,A\nEasy,1 ± 0\nHard one,2 ± 0\n", "Hard: must be a row of table.csv; did you mean Hard one?"),
    ],
)
def test_faults_in_the_table_are_listed(written, tmp_path, text, message):
    (tmp_path / "table.csv").write_text(text)
    assert any(message in fault for fault in read_comparison(written, tmp_path / "out").faults)
