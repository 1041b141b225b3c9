"""The benchmarks beside another library or simulator run as programs and write tables, with small sizes."""

import os
import re
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from benchmarks import off_policy, simulated
from benchmarks.model_free import Job, equal, tuned
from benchmarks.model_free import Row as ModelFreeRow
from benchmarks.model_free import main as model_free
from benchmarks.model_free import results as model_free_table
from benchmarks.runs import call
from tests.benchmarks.running import ROOT, cells, forked_runs, records

__all__ = ["forked_runs"]


def test_model_free(tmp_path, forked_runs, capsys):
    arguments = ["--tasks", "InvertedDoublePendulum-v5", "--algorithms", "A2C", "--budgets", 8000, 6000, "--seeds", 3]
    arguments += ["--libraries", "ours", "--runs", tmp_path / "runs"]
    model_free([*map(str, arguments), "--output", str(tmp_path)])
    output = capsys.readouterr().out
    assert "1 runs to do" in output
    first, second = records(tmp_path / "runs.csv")  # one run passes both budgets
    assert (first["library"], first["seed"], first["env_steps"], second["env_steps"]) == ("ours", "3", "6048", "8048")
    assert float(first["mean"]) > 20 and first["seconds"] == second["seconds"] == "nan"  # without a peer beside it
    line, _ = re.findall(r"^\| InvertedDoublePendulum-v5 \| A2C .*$", (tmp_path / "model_free.md").read_text(), re.M)
    assert line in output and cells(line)[3:5] == ["1, 0", f"{float(first['mean']):,.0f} ± 0"]
    assert cells(line)[-4:] == [""] * 4  # no speeds, and nothing is published for 6,000 steps
    speeds = [float(found.replace(",", "")) for found in re.findall(r": ([\d,]+) steps/s", output)]
    assert len(speeds) == 2 and min(speeds) > 0


def test_off_policy_runs_without_a_peer_have_no_speed(tmp_path, forked_runs):
    arguments = ["--only", "returns", "--tasks", "Pendulum-v1", "--algorithms", "DDPG", "--seeds", 3]
    arguments += ["--env_steps", 1000, "--libraries", "ours", "--runs", tmp_path / "runs"]
    off_policy.main([*map(str, arguments), "--output", str(tmp_path)])
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
    assert settings(equal, "ours", "Walker2d-v5", "TRPO") == pytest.approx(
        {"initial_std": 1.0, "max_kl": 0.06, "damping": 0.6}
    )
    assert settings(equal, "ours", "Swimmer-v5", "TRPO") == pytest.approx(
        {"initial_std": 1.0, "max_kl": 0.02, "damping": 0.2}
    )
    assert settings(equal, "ours", "Swimmer-v5", "PPO") == {"initial_std": 1.0}


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


def test_simulated(tmp_path, forked_runs, capsys):
    arguments = ["--budget", 2048, "--seeds", 0, "--copies", 2, "--runs", tmp_path / "runs", "--output", tmp_path]
    simulated.main(list(map(str, arguments)))
    output = capsys.readouterr().out
    rows = {cells(line)[0]: cells(line) for line in re.findall(r"^\| .*$", output, re.M)}
    assert rows["diffsim/Hopper-v5"][1] == rows["Hopper-v5"][1] == "4,096"  # half of them initialise the normalizer
    speeds = [float(cell.replace(",", "")) for cell in rows["2"][1:]]
    assert speeds[2] == pytest.approx(speeds[0] / speeds[1], abs=0.02) and min(speeds) > 0


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
    for ours, apart, verdict in (
        ([890.0, 920.0], "-95 ± 101", "undecided"),
        ([790.0, 800.0], "-205 ± 100", "below"),
        ([1250.0, 1260.0], "+255 ± 100", "above"),
    ):
        assert cells(last_line([*rows("ours", ours, 1.0), *theirs]))[6:] == [apart, verdict, "100", "50", "2.00", "910"]
    assert cells(last_line([*rows("ours", [1100.0], 1.0), *theirs]))[6] == "+100"  # no error with one seed
    assert cells(last_line([*rows("ours", [9000.0], 1.0), *theirs]))[7] == "undecided"
    ours = [*rows("ours", [900.0], 1.0), *rows("ours", [900.0], np.nan)]  # only the pair has a speed
    assert cells(last_line([*ours, *theirs]))[8:11] == ["100", "50", "2.00"]
