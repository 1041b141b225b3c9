"""The benchmarks run as programs and write tables, with small sizes."""

import csv
import importlib
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import mujoco
import numpy as np
import pytest

import diffsim
from benchmarks import helicopter, pong
from benchmarks.command import RESULTS
from benchmarks.goals import Result as GoalResult
from benchmarks.goals import main as goals
from benchmarks.goals import report as goals_page
from benchmarks.goals import save as save_goals
from benchmarks.model_free import Job, equal, tuned
from benchmarks.model_free import Row as ModelFreeRow
from benchmarks.model_free import main as model_free
from benchmarks.model_free import results as model_free_table
from benchmarks.onset import soften
from benchmarks.pathwise import Row as PathwiseRow
from benchmarks.pathwise import digest
from benchmarks.physics import Row, verdicts
from benchmarks.runs import call, fit_arguments, read_rows, train, write_rows
from benchmarks.tetris import main as tetris
from diffsim.trainers.run.run_folder import RunFolder

ROOT = Path(__file__).parents[2]


def run(module: str, *arguments: object) -> str:
    """Output of a benchmark in a process of its own: each sets its precision, and one binds the process to a core."""
    command = [sys.executable, "-m", f"benchmarks.{module}", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


def records(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


@pytest.mark.parametrize(
    "module",
    [
        *("ensemble", "goals", "gpu", "gradients", "helicopter", "laboratory", "model_free", "off_policy", "onset"),
        *("pathwise", "pegasus", "physics", "pong", "relaxed", "robots", "simulated", "tetris"),
    ],
)
def test_help(module, capsys):
    with pytest.raises(SystemExit, match="0"):
        importlib.import_module(f"benchmarks.{module}").main(["--help"])
    assert f"python -m benchmarks.{module}" in capsys.readouterr().out


def test_robots(tmp_path):
    model = (
        '<mujoco><option integrator="{}"/><worldbody><body><joint name="joint" axis="0 1 0"/>'
        '<geom size=".1" pos=".3 0 0"/></body></worldbody><actuator><motor joint="joint"/></actuator></mujoco>'
    )
    (tmp_path / "hinge.xml").write_text(model.format("Euler"))
    (tmp_path / "refused.xml").write_text(model.format("implicit"))
    sizes = ["--steps", 30, "--worlds", 2, "--speed-worlds", 2, "--seconds", 0.001]
    run("robots", tmp_path, *sizes, "--tasks", "--output", tmp_path)
    (row,) = records(tmp_path / "accuracy.csv")
    assert row["model"] == "hinge" and not row["failed"]
    assert 0 < float(row["worst"]) <= 1e-6 and float(row["cosine_worst"]) > 1 - 1e-9
    assert float(row["float64_step"]) <= 1e-13 and float(row["float64_jacobian"]) <= 1e-7
    (row,) = records(tmp_path / "speed.csv")
    assert float(row["forward"]) > 0 and float(row["both"]) > 0
    assert "accepts 1 of 2 models" in (tmp_path / "robots.md").read_text()


def test_physics(tmp_path):
    arguments = ["--tasks", "InvertedPendulum-v5", "--batches", 2, "--seconds", 0.001, "--devices", "cpu"]
    output = run("physics", *arguments, "--peers", "transition_fd", "--output", tmp_path)
    page = (tmp_path / "physics.md").read_text()
    assert "mujoco " in page and "holds on" not in page  # the bounds are for 256 worlds
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
    # float64 is on
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


def test_onset(tmp_path):
    run("onset", "--samples", 8, "--num_envs", 4, "--horizons", "1,2", "--output", tmp_path)
    lines = (tmp_path / "onset-Hopper-v5.md").read_text().splitlines()
    rows = [cells(line) for line in lines if re.search(r"\| [12] \|", line)]
    variants = ["none: the task as it is", "contacts", "limits", "both"]
    assert [row[:2] for row in rows] == [[name, str(horizon)] for name in variants for horizon in (1, 2)]


@pytest.mark.parametrize(("contacts", "limits"), [(True, False), (False, True)])
def test_soft_variants_differ_only_in_the_impedance_at_zero_depth(tmp_path, contacts, limits):
    soften("Hopper-v5", contacts, limits, tmp_path / "soft.xml")
    soft, hard = mujoco.MjModel.from_xml_path(str(tmp_path / "soft.xml")), diffsim.make("Hopper-v5", 1).mj_model
    assert (soft.geom_solimp[:, 0] == (0.0 if contacts else hard.geom_solimp[:, 0])).all()
    assert (soft.jnt_solimp[:, 0] == (0.0 if limits else hard.jnt_solimp[:, 0])).all()
    for name in ("geom_solimp", "jnt_solimp"):
        np.testing.assert_allclose(getattr(soft, name)[:, 1:], getattr(hard, name)[:, 1:])
    for name in ("body_mass", "body_inertia", "geom_size", "geom_margin", "jnt_range", "dof_damping", "actuator_gear"):
        np.testing.assert_allclose(getattr(soft, name), getattr(hard, name), atol=1e-5)


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


def test_a_run_goes_on_to_a_larger_budget_and_a_finished_one_is_left_alone(tmp_path):
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


def test_model_free(tmp_path):
    arguments = ["--tasks", "InvertedDoublePendulum-v5", "--algorithms", "A2C", "--budgets", 8000, 6000, "--seeds", 3]
    arguments += ["--libraries", "ours", "--runs", tmp_path / "runs"]
    output = run("model_free", *arguments, "--output", tmp_path)
    assert "1 runs to do" in output
    first, second = records(tmp_path / "runs.csv")  # one run passes both budgets
    assert (first["library"], first["seed"], first["env_steps"], second["env_steps"]) == ("ours", "3", "6048", "8048")
    assert float(first["mean"]) > 20 and first["seconds"] == second["seconds"] == "nan"  # without a peer beside it
    line, _ = re.findall(r"^\| InvertedDoublePendulum-v5 \| A2C .*$", (tmp_path / "model_free.md").read_text(), re.M)
    assert line in output and cells(line)[3:5] == ["1, 0", f"{float(first['mean']):,.0f} ± 0"]
    assert cells(line)[-4:] == [""] * 4  # no speeds, and nothing is published for 6,000 steps
    speeds = [float(found.replace(",", "")) for found in re.findall(r": ([\d,]+) steps/s", output)]
    assert len(speeds) == 2 and min(speeds) > 0


def test_off_policy_runs_without_a_peer_have_no_speed(tmp_path):
    arguments = ["--only", "returns", "--tasks", "Pendulum-v1", "--algorithms", "DDPG", "--seeds", 3]
    arguments += ["--env_steps", 1100, "--libraries", "ours", "--runs", tmp_path / "runs"]
    run("off_policy", *arguments, "--output", tmp_path)
    (row,) = records(tmp_path / "runs.csv")
    assert (row["library"], row["seed"], row["seconds"]) == ("ours", "3", "nan")
    (line,) = re.findall(r"^\| Pendulum-v1 .*$", (tmp_path / "off_policy.md").read_text(), re.M)
    assert cells(line)[-4:] == [""] * 4  # speeds, and nothing is published for Pendulum-v1


def test_model_free_gives_ours_the_settings_of_a_file_or_those_of_theirs():
    def settings(kind, *words):
        return kind(Job(*words, seed=0))

    folder = ROOT / "configs"
    assert settings(tuned, "ours", "HalfCheetah-v5", "NaturalGradient") == {
        "config": folder / "natural_gradient_half_cheetah.yaml"
    }
    assert settings(tuned, "ours", "Walker2d-v5", "TRPO") == {"config": folder / "trpo_walker2d.yaml"}
    assert settings(tuned, "ours", "Hopper-v5", "Reinforce") == {}  # has no file
    assert settings(tuned, "theirs", "Walker2d-v5", "TRPO") == settings(equal, "theirs", "Walker2d-v5", "TRPO") == {}
    # sums over the six and the two numbers of an action, where theirs takes means
    assert settings(equal, "ours", "Walker2d-v5", "TRPO") == pytest.approx({"max_kl": 0.06, "damping": 0.6})
    assert settings(equal, "ours", "Swimmer-v5", "TRPO") == pytest.approx({"max_kl": 0.02, "damping": 0.2})
    assert settings(equal, "ours", "Swimmer-v5", "PPO") == {}


def test_a_run_and_its_peer_run_at_the_same_time(tmp_path):
    """Two commands that wait for each other: one after the other, they would never end."""
    wait = "import os,sys,time\nopen(sys.argv[1],'w').close()\nwhile not os.path.exists(sys.argv[2]): time.sleep(0.01)"
    wait += "\nprint(sorted(os.sched_getaffinity(0)))"
    one, two = tmp_path / "one", tmp_path / "two"
    core = min(os.sched_getaffinity(0))
    with ThreadPoolExecutor(2) as pool:
        calls = [
            pool.submit(call, [sys.executable, "-c", wait, *map(str, pair)], core) for pair in ((one, two), (two, one))
        ]
        assert [done.result(timeout=60).strip() for done in calls] == [f"[{core}]"] * 2
    with pytest.raises(RuntimeError, match="(?s)failed:.*ZeroDivisionError"):
        call([sys.executable, "-c", "1 / 0"])


def test_simulated(tmp_path):
    arguments = ["--budget", 2048, "--seeds", 0, "--copies", 2, "--runs", tmp_path / "runs", "--output", tmp_path]
    output = run("simulated", *arguments)
    rows = {cells(line)[0]: cells(line) for line in re.findall(r"^\| .*$", output, re.M)}
    assert rows["diffsim/Hopper-v5"][1] == rows["Hopper-v5"][1] == "4,096"  # half of them initialise the normalizer
    speeds = [float(cell.replace(",", "")) for cell in rows["2"][1:]]
    assert speeds[2] == pytest.approx(speeds[0] / speeds[1], abs=0.02) and min(speeds) > 0


def test_pong_reports_the_rise_of_the_moving_average(tmp_path):
    score = [-21.0] * 10 + [-20.0] * 10 + [-17.0] * 10
    rows = [{"return": value, "env_steps": 100 * (i + 1), "seconds": 6.0 * (i + 1)} for i, value in enumerate(score)]
    (line,) = re.findall(r"^\| 30 \|.*$", pong.report(rows, 4), re.M)
    assert cells(line) == ["30", "120", "3,000", "3.0", "-21.00", "-17.00", "+4.00", "-17.00"]
    assert pong.smooth(np.array([1.0, 3.0])).tolist() == [2.0]
    pong.draw(np.arange(30.0), np.array(score), tmp_path / "pong.png")
    assert (tmp_path / "pong.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--learning_rate", "1e-12"], "--learning_rate must be left out without --equal, got 1e-12"),
        (["--equal", "--learning_rate", "1e-12"], "unless --algorithms are A2C and PPO, got ['TRPO']"),
        (["--learning_rate", "0", "--algorithms", "A2C"], "argument --learning_rate: must be > 0, got 0"),
        (["--equal", "--algorithms", "Reinforce"], "among ['TRPO', 'A2C', 'PPO'], got ['Reinforce']"),
    ],
)
def test_model_free_refuses_options_that_do_not_fit(capsys, arguments, message):
    with pytest.raises(SystemExit, match="2"):
        model_free(arguments)
    assert message in capsys.readouterr().err


def test_model_free_compares_means_with_their_standard_error():
    def rows(library, means, seconds):
        run = ("HalfCheetah-v5", "PPO", 100_000)
        return [ModelFreeRow(library, *run, seed, mean, 1.0, 100, seconds) for seed, mean in enumerate(means)]

    def last_line(rows):
        return model_free_table(rows).splitlines()[-1]

    theirs = rows("theirs", [900.0, 1100.0], 2.0)  # 1000 ± 100, 50 steps per second
    # errors: root of (450 / 2 + 20000 / 2), and of (50 / 2 + 20000 / 2)
    for ours, apart, verdict in (([890.0, 920.0], "-95 ± 101", "yes"), ([890.0, 900.0], "-105 ± 100", "no")):
        assert cells(last_line([*rows("ours", ours, 1.0), *theirs]))[6:] == [apart, verdict, "100", "50", "2.00", "910"]
    assert cells(last_line([*rows("ours", [1100.0], 1.0), *theirs]))[6] == "+100"  # no error with one seed
    ours = [*rows("ours", [900.0], 1.0), *rows("ours", [900.0], np.nan)]  # only the pair has a speed
    assert cells(last_line([*ours, *theirs]))[8:11] == ["100", "50", "2.00"]


def test_verdicts_name_the_tasks_that_miss_a_bound():
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


def test_relaxed(tmp_path):
    rows = {}
    output = run("relaxed", "--samples", 2000, "--output", tmp_path)
    assert output.strip() == (tmp_path / "relaxed.md").read_text().strip()
    for row in records(tmp_path / "relaxed.csv"):
        rows[row["choice"], row["payoff"], row["estimator"]] = {
            k: float(row[k]) for k in ("bias", "bias_error", "deviation")
        }
    assert len(rows) == 2 * 11 + 2 * 3
    for choice in ("8 choices", "6 bits"):
        for payoff in ("linear", "curved"):
            unbiased = rows[choice, payoff, "likelihood ratio, baseline"]
            assert unbiased["bias"] < 4 * unbiased["bias_error"]
        assert rows[choice, "linear", "straight-through"]["bias"] < 1e-9
        curved = rows[choice, "curved", "straight-through"]
        assert curved["bias"] > 4 * curved["bias_error"]
    biases, deviations = (
        [rows["8 choices", "curved", f"Gumbel-softmax, temperature {t}"][name] for t in (0.5, 1.0, 2.0)]
        for name in ("bias", "deviation")
    )
    assert biases == sorted(biases) and deviations == sorted(deviations, reverse=True)


def test_goals_writes_the_success_rate_of_the_final_episodes(tmp_path):
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


def test_the_ensemble_benchmark_gives_a_ratio_for_every_size(tmp_path):
    run("ensemble", "--members", 2, "--rounds", 1, "--repeats", 1, "--output", tmp_path)
    lines = re.findall(r"^\| \d.*$", (tmp_path / "ensemble.md").read_text(), re.M)
    assert len(lines) == 7 and all(float(cells(line)[2]) > 0 for line in lines)


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
