"""Searches without gradients find optima, and do not find them from shuffled returns."""

import pytest
import torch

from diffsim.trainers.black_box.cem import CEM
from diffsim.trainers.black_box.cma_es import CMAES
from diffsim.trainers.black_box.evolution_strategies import EvolutionStrategies
from diffsim.trainers.black_box.finite_differences import FiniteDifferences
from diffsim.trainers.black_box.mu_lambda_es import MuLambdaES
from diffsim.trainers.black_box.pi2 import PI2
from diffsim.trainers.black_box.power import PoWER
from diffsim.trainers.black_box.reps import REPS
from diffsim.trainers.black_box.rwr import RWR
from tests.trainers.search_problems import advance, quadratic, rosenbrock, searcher

SMALL_STEPS = {"learning_rate": 0.1, "weight_decay": 0.0}
METHODS = {
    "CEM": (CEM, {"elite_fraction": 0.25, "init_std": 2.0}),
    "CEM, full": (CEM, {"elite_fraction": 0.25, "init_std": 2.0, "covariance": "full"}),
    "CEM, noisy": (CEM, {"population": 40, "elite_fraction": 0.25, "extra_std": 0.3, "extra_decay": 30}),
    "CMAES": (CMAES, {}),
    "CMAES, separable": (CMAES, {"separable": True}),
    "RWR": (RWR, {}),
    "RWR, exponential": (RWR, {"weights": "exponential"}),
    "PoWER": (PoWER, {}),
    "PI2": (PI2, {}),
    "REPS": (REPS, {}),
    "REPS, full": (REPS, {"covariance": "full", "population": 100}),
    "EvolutionStrategies": (EvolutionStrategies, SMALL_STEPS),
    "MuLambdaES": (MuLambdaES, {}),
    "MuLambdaES, plain": (MuLambdaES, {"recombination": False}),
    "FiniteDifferences": (FiniteDifferences, {"learning_rate": 0.1}),
}


@pytest.mark.parametrize("name", METHODS)
def test_the_optimum_of_a_quadratic_is_found_and_not_from_shuffled_returns(name):
    cls, options = METHODS[name]
    start = [0.0, 0.0, 0.0]  # the optimum is (1, 2, 3), 14 away in squared distance
    found = advance(searcher(cls, start, **options), quadratic, 100)
    assert found > -0.1, found
    control = searcher(cls, start, **options)
    shuffled = advance(control, quadratic, 100, shuffle=torch.Generator().manual_seed(1))
    assert shuffled < -2.0, shuffled


def test_cma_es_finds_the_end_of_rosenbrocks_valley():
    algorithm = searcher(CMAES, [0.0] * 10)
    assert advance(algorithm, rosenbrock, 500) > -1e-6
    torch.testing.assert_close(algorithm.vector(), torch.ones(10, dtype=torch.float64), rtol=0.01, atol=0.0)


def test_cem_finds_the_end_of_rosenbrocks_valley():
    """With the dynamic smoothing of Kroese et al. (2006); without it, the variance vanishes on the way."""
    options = {"population": 100, "elite_fraction": 0.2, "covariance": "full"}
    smoothing = {"spread_smoothing": 0.1, "smoothing_power": 90.0}
    assert advance(searcher(CEM, [0.0] * 10, **options, **smoothing), rosenbrock, 3000) > -1e-6
    assert advance(searcher(CEM, [0.0] * 10, **options), rosenbrock, 500) < -1.0


def test_a_whole_iteration_searches_by_roll_outs():
    algorithm = searcher(CEM, [0.0, 0.0], population=20, elite_fraction=0.25, init_std=2.0)
    returns = [algorithm.train_iteration()["return"] for _ in range(30)]
    assert returns[-1] > -0.01 > returns[0] and algorithm.env_steps == 30 * 20
    torch.testing.assert_close(algorithm.vector(), torch.tensor([1.0, 2.0], dtype=torch.float64), rtol=0.05, atol=0.0)
