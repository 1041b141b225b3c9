"""`diffsim gradients`: statistics, the fitted value, results where the gradient is known, and the command."""

import csv
import math

import pytest
import torch

from diffsim.policies import DeterministicMLP, GaussianMLP
from diffsim.trainers.cli import main
from diffsim.trainers.gradients.experiment import ESTIMATORS, LIKELIHOOD_RATIOS, PATHWISE, WINDOWS, Experiment, Row
from diffsim.trainers.gradients.options import with_noise
from diffsim.trainers.gradients.report import Results, verdicts, winners
from diffsim.trainers.gradients.statistics import GradientComparison, GradientMoments, compare_gradients, turning_point
from tests.trainers.linear_gaussian import LinearGaussian, NoisyLinearQuadratic


def moments(gradients, batch=100):
    result = GradientMoments()
    for part in gradients.split(batch):
        result.add(part)
    return result


def noisy(mean, std, count, seed):
    generator = torch.Generator().manual_seed(seed)
    return mean + std * torch.randn(count, len(mean), generator=generator, dtype=torch.float64)


TRUTH = torch.tensor([3.0, 0.0, -4.0], dtype=torch.float64)


def test_moments_of_batches_equal_those_of_all_samples():
    gradients = noisy(TRUTH, 2.0, 1050, seed=0)  # the last batch is smaller
    found = moments(gradients)
    torch.testing.assert_close(found.mean, gradients.mean(0))
    assert found.variance == pytest.approx(gradients.var(0).sum().item(), rel=1e-9)
    # |mean|^2 is 25 + 3 * 4 / 1050 on average; the norm is corrected for it.
    expected = (gradients.mean(0).square().sum().item() - found.variance / 1050) ** 0.5
    assert found.norm == pytest.approx(expected) == pytest.approx(5.0, rel=0.05)
    assert math.isnan(moments(noisy(0 * TRUTH, 2.0, 1000, seed=3)).norm), "only noise"


def test_bias_is_detected_with_its_size_and_is_zero_without_one():
    reference = moments(noisy(TRUTH, 2.0, 20_000, seed=1))
    for bias in (0.0, 1.0):
        comparison = compare_gradients(
            moments(noisy(TRUTH + torch.tensor([0.0, bias, 0.0]), 3.0, 5000, seed=2)), reference
        )
        assert comparison.bias == pytest.approx(bias / 5, rel=0.1)
        assert comparison.bias_floor == pytest.approx(3 * (27 / 5000 + 12 / 20_000) ** 0.5 / 5, rel=0.05)
        assert comparison.variance == pytest.approx(27, rel=0.05)
        assert comparison.noise == pytest.approx(27 / (100 * 25), rel=0.05)
        assert comparison.error(2.0) == pytest.approx(comparison.bias**2 + 2 * comparison.noise)
        # The mean of a batch of 100 has noise 0.3 in each of three directions; two of them are orthogonal to the
        # vector of length 5: cos = 1 - 2 * 0.3^2 / (2 * 25), times the effect of the bias.
        assert comparison.cosine == pytest.approx((1 - 0.0036) / math.sqrt(1 + (bias / 5) ** 2), abs=2e-3)


def test_the_cosine_is_corrected_for_the_noise_of_the_reference():
    # |mean_ref|^2 is 25 + 3 * 225 / 500 = 26.35 on average: without a correction, cosines would be 0.974.
    references = [moments(noisy(TRUTH, 15.0, 500, seed)) for seed in range(100)]
    cosines = [
        compare_gradients(moments(noisy(TRUTH, 0.01, 100, seed=400)), reference).cosine for reference in references
    ]
    assert sum(cosines) / len(cosines) == pytest.approx(1.0, abs=0.015)  # a ratio of noisy numbers is 1 % off


def test_turning_point():
    horizons = [1, 2, 4, 8]
    assert turning_point(horizons, [1, 1, 1, 1], [2, 2, 0.5, 0.5]) == 4
    assert turning_point(horizons, [1, 1, 1, 1], [0.5, 2, 0.5, 0.5]) == 4
    assert turning_point(horizons, [1, 1, 1, 1], [0.5, 0.5, 0.5, 2]) is None
    assert turning_point(horizons, [1, 1, 1, 1], [0.5, 0.5, 0.5, math.nan]) is None
    assert turning_point(horizons, [1, 1, 1, 1], [0.5, 0.5, 0.5, 0.5]) == 1


def experiment(mdp, *, samples=4000, reference_samples=20_000, gain=(-1.0, -1.5), window=2):
    policy = LinearGaussian([gain])
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    return Experiment(mdp, policy, 1.0, window, 0.05, samples, reference_samples, generator)


def by_name(rows):
    return {row.estimator: row for row in rows}


def test_results_on_a_linear_system_agree_with_theory():
    mdp = NoisyLinearQuadratic(2000)
    lab = experiment(mdp)
    rows = by_name(lab.run(6, seed=0))
    exact = mdp.exact_gradient(lab.policy, 6)
    assert list(rows) == list(ESTIMATORS)
    for name, row in rows.items():
        assert row.gradient_norm == pytest.approx(exact.norm().item(), rel=0.2), name
        # Windows use a fitted value and may be biased; the others are unbiased.
        assert row.comparison.bias == 0 or name == WINDOWS, name
        assert row.comparison.bias < 0.2, name
        assert row.env_steps == (12 if "differences" in name else 6) and row.seconds > 0
    assert rows[PATHWISE].comparison.cosine > 0.95
    order = ["GPOMDP", "GPOMDP, time", "GPOMDP, value", PATHWISE]
    variances = [rows[name].comparison.variance for name in order]
    assert variances == sorted(variances, reverse=True)


def test_variance_over_samples_equals_n_times_that_of_batch_means():
    """Also for estimators whose samples of one batch share baselines and weights."""
    lab = experiment(NoisyLinearQuadratic(50))
    value = lab.fit_value(4)
    found = {
        name: GradientMoments()
        for name in ("REINFORCE, average", "GPOMDP, optimal", "GPOMDP, time", "mixture", PATHWISE)
    }
    for _ in range(80):
        samples = lab.sample(4, value)
        for name, moments in found.items():
            moments.add(samples[name].gradients)
    for name, moments in found.items():
        between_batches = 50 * torch.stack(moments.batch_means).var(0).sum().item()
        # 80 batches: a relative error of sqrt(2 / 80) = 16 % if all noise is in one direction, more with heavy tails.
        assert moments.variance == pytest.approx(between_batches, rel=0.4), name


def test_bias_of_a_broken_pathwise_gradient_is_detected():
    """Negative control: the dynamics are detached from the graph."""

    class Broken(NoisyLinearQuadratic):
        def transition(self, state, action, noise=None):
            return super().transition(state, action, noise).detach()

    rows = by_name(experiment(Broken(2500), samples=5000, reference_samples=25_000).run(6, seed=0))
    assert rows[PATHWISE].comparison.bias > 0.3
    assert all(rows[name].comparison.bias == 0 for name in LIKELIHOOD_RATIOS)


def test_bias_of_pathwise_gradients_by_terminations_is_detected():
    """Each step is rewarded with 5 until |x_1| > 1.5; the derivative excludes the effect of the gain on that time."""

    class Ending(NoisyLinearQuadratic):
        def __init__(self, num_envs):
            super().__init__(num_envs, offset=5.0)
            self.B = torch.tensor([[0.0], [1.0]], dtype=torch.float64)

        def terminal(self, state):
            return state[:, 1].abs() > 1.5

    lab = experiment(Ending(2500), samples=5000, reference_samples=25_000, gain=(-0.3, -0.3))
    rows = by_name(lab.run(6, seed=0))
    assert rows[PATHWISE].comparison.bias > 0.3
    assert all(rows[name].comparison.bias == 0 for name in LIKELIHOOD_RATIOS)


def test_fitted_value_is_close_to_the_exact_one():
    mdp = NoisyLinearQuadratic(500)
    lab = experiment(mdp)
    value, exact = lab.fit_value(6), mdp.exact_value(lab.policy, 6)
    trajectory = lab.roll_out(lab.draw(6))
    time = torch.arange(6)[:, None].expand(6, 500)
    truth = exact(trajectory.obs, time)
    error = value(trajectory.obs, time) - truth
    assert error.var() < 0.1 * truth.var()


def row(estimator, horizon, seed, noise, bias=0.0, seconds=1.0):
    return Row(seed, horizon, estimator, GradientComparison(1.0, bias, 0.1, 0.5, noise), 1.0, seconds, float(horizon))


def results(pathwise_noise, seconds=1.0):
    """Two seeds at horizons 1 and 16, where the value baseline has noise 1 and the others, except pathwise, noise 2."""
    rows = []
    for seed in (0, 1):
        for horizon, noise in zip((1, 16), pathwise_noise, strict=True):
            rows += [row(name, horizon, seed, 2.0) for name in ESTIMATORS if name not in (PATHWISE, "GPOMDP, value")]
            rows += [row("GPOMDP, value", horizon, seed, 1.0), row(PATHWISE, horizon, seed, noise, seconds=seconds)]
    return Results(rows, num_envs=8, window=4)


def test_winners_and_verdicts_by_hand():
    found = results((0.5, 3.0))
    assert winners(found).rows == [
        ["equal env steps", PATHWISE, "GPOMDP, value"],
        ["equal time", PATHWISE, "GPOMDP, value"],
    ]
    assert verdicts(found)[0] == "At equal env steps, the best likelihood ratio beats pathwise from horizon 16 on."
    assert "at no horizon up to 16" in verdicts(results((0.5, 0.5)))[0]
    # A pathwise sample takes four times as long: in the same time, the likelihood ratio has a quarter of the noise.
    slow = results((0.5, 0.5), seconds=4.0)
    assert winners(slow).rows[0][1:] == [PATHWISE, PATHWISE]
    assert winners(slow).rows[1][1:] == ["GPOMDP, value", "GPOMDP, value"]


def test_with_noise_keeps_the_mean_of_a_deterministic_policy():
    mdp = NoisyLinearQuadratic(2)
    kwargs = {"hidden_sizes": (5,), "activation": "elu"}
    policy = DeterministicMLP(mdp.observation_space, mdp.action_space, **kwargs)
    policy.normalizer.update(torch.randn(9, 2))
    noisy = with_noise(policy, mdp, kwargs, std=0.3)
    obs = torch.randn(4, 2)
    assert isinstance(noisy, GaussianMLP) and torch.equal(noisy(obs), policy(obs))
    assert noisy.distribution(obs)[1].unique().item() == pytest.approx(0.3)


SMALL = ["--samples", "64", "--reference_samples", "64", "--num_envs", "64", "--hidden_sizes", "[4]"]


def diffsim(*words):
    return main(["gradients", *map(str, words)])


def test_the_command_prints_tables_and_writes_files(tmp_path, capsys):
    words = ["--task", "Reacher-v5", *SMALL, "--horizons", "1,3", "--seeds", "0,5", "--window", 2]
    assert diffsim(*words, "--output", tmp_path / "out") == 0
    printed = capsys.readouterr().out
    for word in ("Variance", "Bias", "Cosine", "Milliseconds", "Env steps", "At equal time", *ESTIMATORS):
        assert word in printed, word
    with (tmp_path / "out" / "gradients.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {(r["seed"], r["horizon"], r["estimator"]) for r in rows} == {
        (seed, horizon, name) for seed in "05" for horizon in "13" for name in ESTIMATORS
    }
    assert (tmp_path / "out" / "gradients.png").read_bytes().startswith(b"\x89PNG")
    assert diffsim(*words, "--seeds", 5, "--output", tmp_path / "out") == 0
    with (tmp_path / "out-2" / "gradients.csv").open() as file:
        again = list(csv.DictReader(file))
    first = [{**row, "seconds": ""} for row in rows if row["seed"] == "5"]
    assert first == [{**row, "seconds": ""} for row in again], "same seeds, same numbers"


@pytest.mark.parametrize("kind", ["DeterministicMLP", "GaussianMLP"])
def test_the_policy_of_a_run(tmp_path, kind):
    fit = ["fit", "--task", "Reacher-v5", "--policy", kind, "--num_envs", "2", "--horizon", "2", "--iterations", "1"]
    assert main([*fit, "--hidden_sizes", "[4]", "--evaluate_episodes", "1", "--run", str(tmp_path / "run")]) == 0
    words = ["--task", "Reacher-v5", "--policy", tmp_path / "run", *SMALL, "--horizons", "2"]
    assert diffsim(*words, "--output", tmp_path / "out") == 0
    assert (tmp_path / "out" / "gradients.csv").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "option --task is required"),
        (["--task", "Reachr-v5"], "task: id must be one of Ant-v5, "),
        (["--task", "Reacher-v5", "--horizons", "1,two"], "horizons must be whole numbers separated by commas"),
        (
            ["--task", "Reacher-v5", "--horizons", "4,2"],
            "horizons must increase, from 1 or more to at most 50, got '4,2'",
        ),
        (["--task", "Reacher-v5", "--horizons", "1,51"], "to at most 50, got '1,51'"),
        (["--task", "Reacher-v5", "--seeds", "-1"], "seeds must be >= 0, got '-1'"),
        (["--task", "Reacher-v5", "--samples", "100"], "samples must be a multiple of num_envs (256), got 100"),
        (["--task", "Reacher-v5", "--num_envs", "2"], "num_envs must be >= 4, got 2"),
        (["--task", "Reacher-v5", "--window", "0"], "window must be >= 1, got 0"),
        (["--task", "Reacher-v5", "--gamma", "0"], "gamma must be in (0, 1], got 0"),
        (["--task", "Reacher-v5", "--std", "0"], "std must be > 0, got 0"),
        (["--task", "Reacher-v5", "--difference_step", "0"], "difference_step must be > 0, got 0"),
        (["--task", "Reacher-v5", "--process_noise", "-1"], "process_noise must be >= 0, got -1"),
        (["--task", "Reacher-v5", "--hidden_sizes", "[0]"], "hidden_sizes, in_size and out_size must be >= 1, got 0"),
        (["--task", "Reacher-v5", "--device", "abacus"], "abacus"),
        (["--task", "Reacher-v5", "--policy", "nowhere"], "policy must be the folder of a run"),
        (["--task", "Reacher-v5", "--sample", "9"], "unknown option --sample; did you mean --samples?"),
    ],
)
def test_wrong_options_give_one_line_and_write_nothing(words, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert diffsim(*words) == 2
    captured = capsys.readouterr()
    assert message in captured.err and "Traceback" not in captured.err
    assert not list(tmp_path.iterdir()), "nothing may be written"


def test_a_run_of_another_task_is_refused(tmp_path, capsys):
    (tmp_path / "config.yaml").write_text("task: Hopper-v5\n")
    assert diffsim("--task", "Reacher-v5", "--policy", tmp_path) == 2
    assert "policy must be a run of Reacher-v5, got one of Hopper-v5" in capsys.readouterr().err
