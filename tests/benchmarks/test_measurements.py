"""The benchmarks of physics and of estimators of gradients run as programs and write tables, with small sizes."""

import re

import mujoco
import numpy as np
import pytest

import diffsim
from benchmarks.onset import soften
from benchmarks.physics import Row, verdicts
from benchmarks.rllab_random import main, random_returns
from tests.benchmarks.running import cells, records, run


def test_robots(tmp_path):
    model = (
        '<mujoco><option integrator="{}"/><worldbody><body><joint name="joint" axis="0 1 0"/>'
        '<geom size=".1" pos=".3 0 0"/></body></worldbody><actuator><motor joint="joint"/></actuator></mujoco>'
    )
    (tmp_path / "hinge.xml").write_text(model.format("Euler"))
    refused = model.format("Euler").replace("<worldbody>", '<option><flag sleep="enable"/></option><worldbody>')
    (tmp_path / "refused.xml").write_text(refused)
    sizes = ["--steps", 30, "--worlds", 2, "--speed-worlds", 2, "--seconds", 0.001]
    run("robots", tmp_path, *sizes, "--tasks", "--output", tmp_path)
    (row,) = records(tmp_path / "accuracy.csv")
    assert row["model"] == "hinge" and not row["failed"]
    assert 0 < float(row["worst"]) <= 1e-6 and float(row["cosine_worst"]) > 1 - 1e-9
    assert float(row["float64_step"]) <= 1e-13 and float(row["float64_jacobian"]) <= 1e-7
    (row,) = records(tmp_path / "speed.csv")
    assert float(row["forward"]) > 0 and float(row["both"]) > 0
    assert "accepts 1 of 2 models" in (tmp_path / "robots.md").read_text()


def test_parity(tmp_path):
    model = (
        '<mujoco><asset><hfield name="hills" nrow="2" ncol="2" size="1 1 1 .1"/></asset><worldbody><body>'
        '<joint name="joint" axis="0 1 0"/><geom size=".1" pos=".3 0 0"/></body>{}</worldbody>'
        '<actuator><{} joint="joint"/></actuator></mujoco>'
    )
    folder = tmp_path / "models"
    folder.mkdir()
    files = {
        "hinge": model.format("", 'general dyntype="filter" dynprm="1"'),
        "touching": model.format('<geom type="hfield" hfield="hills" pos="0 0 -2"/>', "motor"),
        "user": model.format("", 'general dyntype="user"'),
        "broken": "<mujoco><no/></mujoco>",
    }
    for name, text in files.items():
        (folder / f"{name}.xml").write_text(text)
    run("parity", f"some={folder}", "--source", "some=a test", "--states", 2, "--output", tmp_path)
    rows = {row["model"]: row for row in records(tmp_path / "parity.csv")}
    assert float(rows["hinge"]["step"]) <= 1e-13 and float(rows["hinge"]["jacobian"]) <= 1e-7
    assert rows["hinge"]["verdict"] == rows["touching"]["verdict"] == "clean"
    assert rows["user"]["refused"] == "actuator dyntype=user" and "does not load" in rows["broken"]["failed"]
    text = (tmp_path / "parity.md").read_text()
    assert "takes 2 of 4 models" in text and "- some: a test" in text and str(tmp_path) not in text


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
    arguments = ["--tasks", "Reacher-v5", "--horizons", "1,2", "--num_envs", 64, "--samples", 64]
    output = run("laboratory", *arguments, "--reference_samples", 64, "--output", tmp_path)
    text = (tmp_path / "Reacher-v5.md").read_text()
    assert "python -m benchmarks.laboratory --tasks Reacher-v5 --horizons 1,2 --seeds 0" in text
    (header,) = re.findall(r"\*\*Variance of one sample.*\n\n(.*)\n", text)
    assert cells(header) == ["horizon", "1", "2"]
    for line in re.findall(r"^\* (.*)$", text, re.M):
        assert line in output
    assert {row["estimator"] for row in records(tmp_path / "Reacher-v5.csv")} >= {"pathwise", "GPOMDP, value"}
    assert (tmp_path / "Reacher-v5.png").stat().st_size > 10_000


def test_onset(tmp_path):
    run("onset", "--samples", 64, "--num_envs", 64, "--horizons", "1,2", "--output", tmp_path)
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


def test_the_ensemble_benchmark_gives_a_ratio_for_every_size(tmp_path):
    run("ensemble", "--members", 2, "--rounds", 1, "--repeats", 1, "--output", tmp_path)
    lines = re.findall(r"^\| \d.*$", (tmp_path / "ensemble.md").read_text(), re.M)
    assert len(lines) == 7 and all(float(cells(line)[2]) > 0 for line in lines)


def test_rllab_random(tmp_path):
    """Random actions on two rows: the published return of the mountain car, and episodes of a cart-pole that end."""
    main(["--rows", "Mountain Car (LS)", "Cart-Pole Balancing", "--episodes", "30", "--output", str(tmp_path)])
    rows = [cells(line) for line in (tmp_path / "random.md").read_text().splitlines()]
    assert ["Mountain Car (LS)", "RllabMountainCar-v0", "-83.0 ± 0.0", "-83.0 ± 0.0"] in [row[:4] for row in rows]
    total, length = random_returns("RllabCartPole-v0", {}, 300)
    # 10 per step, less at most 1 - cos 0.2 and 1e-3, and nothing for the last.
    bonus = 10 * (length - 1)
    assert ((total <= bonus) & (total >= bonus - 0.021 * (length - 1) - 1e-4)).all()
    assert abs(total.mean() - 77.1) < 4 * total.std() / 300**0.5
