"""The benchmarks run as programs and give tables; tiny sizes."""

import csv
import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.model_free import Row as ModelFreeRow
from benchmarks.model_free import table as model_free_table
from benchmarks.physics import Row, verdicts

ROOT = Path(__file__).parents[2]


def run(module: str, *arguments: object) -> str:
    """Output of a benchmark, in a process of its own: each chooses its precision, and one holds it on one core."""
    command = [sys.executable, "-m", f"benchmarks.{module}", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


def records(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


@pytest.mark.parametrize("module", ["physics", "gradients", "laboratory", "pathwise", "pegasus", "model_free"])
def test_help(module):
    assert f"python -m benchmarks.{module}" in run(module, "--help")


def test_physics(tmp_path):
    arguments = ["--tasks", "InvertedPendulum-v5", "--batches", 2, "--seconds", 0.001, "--devices", "cpu"]
    output = run("physics", *arguments, "--peers", "transition_fd", "--output", tmp_path)
    page = (tmp_path / "physics.md").read_text()
    assert "mujoco " in page and "holds on" not in page  # the bars are for 256 worlds
    assert "not measured" in output
    (row,) = records(tmp_path / "physics.csv")
    assert row["task"] == "InvertedPendulum-v5"
    assert all(float(row[name]) > 0 for name in ("mj_step", "forward", "both", "linearize", "transition_fd"))
    assert row["mjx_both"] == "nan"


def test_gradients(tmp_path):
    arguments = ["--tasks", "InvertedPendulum-v5", "--states", 4, "--rollouts", 2, "--horizon", 4]
    output = run("gradients", *arguments, "--output", tmp_path)
    assert (tmp_path / "InvertedPendulum-v5.png").stat().st_size > 10_000
    errors = records(tmp_path / "errors.csv")
    assert len(errors) == 4
    # Float64 was switched on.
    assert all(float(row["error"]) < 1e-7 for row in errors if not row["switch"])
    growth = records(tmp_path / "growth.csv")
    assert [int(row["steps"]) for row in growth] == [1, 2, 3, 4]
    (line,) = re.findall(r"^\| InvertedPendulum-v5 \| 4 \|.*$", output, re.M)
    header = re.findall(r"^\| task \| states.*$", output, re.M)[0]
    assert len(cells(line)) == len(cells(header))
    assert line in (tmp_path / "gradients.md").read_text()


def test_laboratory(tmp_path):
    arguments = ["--tasks", "Reacher-v5", "--horizons", "1,2", "--num_envs", 4, "--samples", 4]
    output = run("laboratory", *arguments, "--reference_samples", 4, "--output", tmp_path)
    text = (tmp_path / "Reacher-v5.md").read_text()
    assert "python -m benchmarks.laboratory --tasks Reacher-v5 --horizons 1,2 --seeds 0" in text
    (header,) = re.findall(r"\*\*Variance of one sample.*\n\n(.*)\n", text)
    assert cells(header) == ["horizon", "1", "2"]
    for line in re.findall(r"^\* (.*)$", text, re.M):
        assert line in output
    assert {row["estimator"] for row in records(tmp_path / "Reacher-v5.csv")} >= {"pathwise", "GPOMDP, value"}
    assert (tmp_path / "Reacher-v5.png").stat().st_size > 10_000


def test_pathwise(tmp_path):
    arguments = ["--tasks", "Reacher-v5", "--budgets", 1024, "--seeds", 3, "--runs", tmp_path / "runs"]
    output = run("pathwise", *arguments, "--output", tmp_path)
    (row,) = records(tmp_path / "runs.csv")
    assert (row["task"], row["budget"], row["seed"], row["env_steps"]) == ("Reacher-v5", "1024", "3", "1024")
    page = (tmp_path / "pathwise.md").read_text()
    (line,) = re.findall(r"^\| Reacher-v5 \|.*$", output, re.M)
    assert line in page and cells(line)[3].startswith(f"3: {float(row['mean']):,.0f}")
    before = (tmp_path / "runs.csv").read_text()
    run("pathwise", *arguments, "--output", tmp_path)
    assert (tmp_path / "runs.csv").read_text() == before  # finished runs are not repeated: seconds would differ


def test_pegasus(tmp_path):
    arguments = ["--scenarios", 1, 4, "--seeds", 1, "--iterations", 2, "--output", tmp_path]
    output = run("pegasus", *arguments)
    assert output.count("Result(") == 2 and (tmp_path / "pegasus.png").stat().st_size > 10_000
    rows = [cells(line) for line in re.findall(r"^\| [14] \|.*$", (tmp_path / "pegasus.md").read_text(), re.M)]
    assert [row[0] for row in rows] == ["1", "4"]
    for row in rows:
        own, fresh, gap = (float(cell.split(" ± ")[0]) for cell in row[1:4])
        assert gap == pytest.approx(own - fresh, abs=0.02)


def test_model_free(tmp_path):
    arguments = ["--tasks", "InvertedDoublePendulum-v5", "--algorithms", "A2C", "--budgets", 2000, "--seeds", 3]
    arguments += ["--libraries", "ours", "--runs", tmp_path / "runs"]
    output = run("model_free", *arguments, "--output", tmp_path)
    assert "1 runs to do" in output
    (row,) = records(tmp_path / "runs.csv")
    assert (row["library"], row["seed"], row["env_steps"]) == ("ours", "3", "2000") and float(row["mean"]) > 20
    (line,) = re.findall(r"^\| InvertedDoublePendulum-v5 \| A2C .*$", (tmp_path / "model_free.md").read_text(), re.M)
    assert line in output and cells(line)[3:5] == ["1, 0", f"{float(row['mean']):,.0f} ± 0"]


def test_model_free_compares_means_with_their_spread():
    def rows(library, means, seconds):
        run = ("HalfCheetah-v5", "PPO", 100_000)
        return [ModelFreeRow(library, *run, seed, mean, 1.0, 100, seconds) for seed, mean in enumerate(means)]

    theirs = rows("theirs", [900.0, 1100.0], 2.0)  # 1000 ± 100, 50 steps per second
    for ours, verdict in (([890.0, 920.0], "yes"), ([890.0, 900.0], "no")):
        line = model_free_table([*rows("ours", ours, 1.0), *theirs])[-1]
        assert cells(line)[6:] == [verdict, "100", "50", "2.00", "910"]


def test_verdicts_name_what_misses():
    rows = [
        Row("a", "cpu", 256, mj_step=1.0, forward=1.0, both=3.0, mjx_forward=3.5, mjx_both=8.0),
        Row("b", "cpu", 256, mj_step=1.0, forward=2.0, both=9.0),
        Row("c", "cpu", 1, mj_step=1.0, forward=99.0, both=999.0),
    ]
    lines = verdicts(rows)
    assert [line.split(": ")[-1] for line in lines] == [
        "holds on 1 of 2 tasks; missed on b 2.00",
        "holds on 1 of 2 tasks; missed on b 4.50",
        "holds on 1 of 1 tasks",
        "holds on 0 of 1 tasks; missed on a 2.67",
    ]


def test_the_ensemble_benchmark_gives_a_ratio_for_every_size():
    lines = [cells(line) for line in run("ensemble", "--members", 2, "--rounds", 1, "--repeats", 1).splitlines()[3:]]
    assert len(lines) == 4 and all(float(line[2]) > 0 for line in lines)


def test_world_model_runs_are_not_repeated_and_make_a_table(tmp_path):
    from benchmarks.model_free import write_rows
    from benchmarks.world_models import METHODS, main

    rows = [
        ModelFreeRow("ours", "Pendulum-v1", "ModelBased", 5000, seed, mean, 10.0, 5000, 60.0)
        for seed, mean in ((0, -100.0), (1, -200.0))
    ]
    write_rows(rows, tmp_path / "runs.csv")
    main(["--tasks", "Pendulum-v1", "--methods", "ModelBased", "--seeds", "0", "1", "--output", str(tmp_path)])
    from benchmarks.world_models import table

    assert table(rows)[2] == "| Pendulum-v1 | ModelBased | 5,000 | 2 | -150 ± 50 | -100, -200 |"
    assert all((ROOT / "configs" / m.config).is_file() for methods in METHODS.values() for m in methods.values())
