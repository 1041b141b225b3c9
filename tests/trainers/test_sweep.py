"""`diffsim sweep`: trials by Optuna, continued after an interrupt, and their report."""

import numpy as np
import pytest
import yaml

from diffsim.trainers.cli import main
from diffsim.trainers.compare.comparison import Run
from diffsim.trainers.errors import OptionError
from diffsim.trainers.run.run_folder import RunFolder, write_table
from diffsim.trainers.sweep import sweep as sweeping
from diffsim.trainers.sweep.sweep_file import read_sweep
from tests.trainers.compare.in_process import InProcess

SWEEP = {
    "options": {"task": "Reacher-v5", "algorithm": "BPTT", "env_steps": 12, "num_envs": 2, "horizon": 3},
    "search": {
        "learning_rate": {"low": 0.001, "high": 0.1, "log": True},
        "hidden_sizes": [[4], [4, 4]],
        "max_age": {"low": 4, "high": 8, "step": 2},
    },
    "trials": 10,
    "seeds": [0, 1],
}


def write(tmp_path, **changes):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({**SWEEP, **changes}))
    return path


class Made:
    """Makes results in place of training: the return is -(log10 rate + 2)^2 - seed; ends with Ctrl-C after some."""

    def __init__(self, until=1000):
        self.until, self.rates = until, []

    def start(self, run: Run, arguments):
        if len(self.rates) == self.until:
            raise KeyboardInterrupt
        rate = float(run.options["learning_rate"])
        self.rates.append(rate)
        run.folder.path.mkdir(parents=True, exist_ok=True)
        score = -((np.log10(rate) + 2.0) ** 2) - run.seed
        write_table(run.folder.final, [{"actions": "mean", "seed": 0, "return": score}])
        return self

    def poll(self):
        return 0

    def kill(self):
        pass

    interrupt = close = kill


def test_a_sweep_continues_after_an_interrupt_and_reports_the_best(tmp_path, monkeypatch):
    """Two seeds per trial: interrupted within the fourth trial, whose first run is not repeated."""
    pytest.importorskip("optuna")
    monkeypatch.setattr(sweeping, "PAUSE", 0.0)
    words = ["sweep", str(write(tmp_path)), "--output", str(tmp_path / "out"), "--jobs", "3"]
    first, second = Made(7), Made()
    for launcher, status in ((first, 130), (second, 0)):
        monkeypatch.setattr(sweeping, "make_launcher", lambda name, launcher=launcher: launcher)
        assert main(words) == status
    assert len(first.rates) + len(second.rates) == 20 and len({*first.rates, *second.rates}) == 10
    assert main(words) == 0 and len(second.rates) == 13, "there is nothing left to do"
    rates = np.array([*first.rates, *second.rates])
    best = yaml.safe_load((tmp_path / "out" / "best.yaml").read_text())
    assert best["learning_rate"] == rates[np.argmin(np.abs(np.log10(rates) + 2.0))] and best["task"] == "Reacher-v5"
    report = (tmp_path / "out" / "report.md").read_text()
    assert "10 complete" in report and (tmp_path / "out" / "sweep.png").stat().st_size > 1000
    rows = (tmp_path / "out" / "trials.csv").read_text().splitlines()
    scores = [float(row.split(",")[1]) for row in rows[1:]]
    assert scores == sorted(scores, reverse=True) and len(scores) == 10
    assert scores[0] == pytest.approx(-((np.log10(best["learning_rate"]) + 2.0) ** 2) - 0.5)
    other = write(tmp_path, seeds=[0])
    assert main(["sweep", str(other), "--output", str(tmp_path / "out")]) == 2


def test_a_trial_trains_with_its_options(tmp_path, monkeypatch):
    pytest.importorskip("optuna")
    monkeypatch.setattr(sweeping, "make_launcher", lambda name: InProcess())
    options = {**SWEEP["options"], "evaluate_episodes": 1, "final_episodes": 1}
    path = write(tmp_path, options=options, trials=2, seeds=[3])
    assert main(["sweep", str(path), "--output", str(tmp_path / "out")]) == 0
    for number in (0, 1):
        config = RunFolder(tmp_path / "out" / "runs" / f"trial-{number}-seed-3").read_config()
        assert config["hidden_sizes"] in ([4], [4, 4]) and config["max_age"] in (4, 6, 8) and config["seed"] == 3
        assert 0.001 <= config["learning_rate"] <= 0.1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"serch": {}}, "unknown key serch; valid: options, config, search, trials, seeds, seed"),
        ({"search": {}}, "search must name at least one option"),
        ({"search": {"horizon": [4]}}, "horizon: choices must be at least two"),
        ({"search": {"horizon": {"low": 0, "high": 8}}}, "horizon must be >= 1, got 0"),
        ({"search": {"horizon": {"low": 8, "high": 4}}}, "horizon: low must be below high"),
        ({"search": {"learning_rate": {"low": 0, "high": 1, "log": True}}}, "above 0 with log"),
        ({"search": {"learning_rat": [0.1, 0.2]}}, "unknown option learning_rat; did you mean learning_rate?"),
        ({"options": {"algorithm": "BPTT"}}, "options: task must be given"),
        ({"trials": 0}, "trials must be an integer >= 1, got 0"),
        ({"seeds": []}, "seeds must be a list of integers >= 0, got []"),
    ],
)
def test_faults_are_listed_before_anything_starts(tmp_path, changes, message):
    with pytest.raises(OptionError) as caught:
        read_sweep(write(tmp_path, **changes))
    assert message in str(caught.value)


def test_a_shipped_configuration_can_be_searched(tmp_path):
    options = {"env_steps": 100, "num_envs": 2}
    sweep = read_sweep(write(tmp_path, config="shac_reacher", options=options, search={"horizon": [4, 8]}))
    assert sweep.options["task"] == "Reacher-v5" and sweep.options["algorithm"] == "SHAC"
    assert sweep.options["env_steps"] == 100


def test_the_extra_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main(["sweep", str(write(tmp_path))]) == 2
    assert 'sweep needs the "sweep" extra: pip install "diffsim-rl[sweep]"' in capsys.readouterr().err
