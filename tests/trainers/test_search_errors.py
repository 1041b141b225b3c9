"""Searches refuse what they cannot use, and say why; a generation without information changes nothing."""

from functools import partial

import pytest
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorWrapper

from diffsim.policies import LinearPolicy
from diffsim.trainers.black_box.cem import CEM
from diffsim.trainers.black_box.cma_es import CMAES
from diffsim.trainers.black_box.evolution_strategies import EvolutionStrategies
from diffsim.trainers.black_box.finite_differences import FiniteDifferences
from diffsim.trainers.black_box.mu_lambda_es import MuLambdaES
from diffsim.trainers.black_box.pi2 import PI2
from diffsim.trainers.black_box.power import PoWER
from diffsim.trainers.black_box.reps import REPS
from diffsim.trainers.black_box.rwr import RWR
from diffsim.trainers.black_box.step_reps import StepREPS
from diffsim.trainers.errors import UsageError
from diffsim.trainers.run.registry import ALGORITHMS, choose
from tests.trainers.commands import diffsim
from tests.trainers.search_problems import searcher, tell
from tests.trainers.small_envs import Chain, vector

LARGE = [0.0] * 4001


@pytest.mark.parametrize(
    ("cls", "start", "options", "message"),
    [
        (CEM, [0.0], {"population": 1}, "population must be >= 2, got 1"),
        (EvolutionStrategies, [0.0], {"population": 1}, "population must be >= 2, got 1"),
        (CMAES, [0.0], {"population": 1}, "population must be >= 2, got 1"),
        (EvolutionStrategies, [0.0], {"population": 3}, "population must be even for mirrored members, got 3"),
        (
            CEM,
            [0.0],
            {"population": 20, "elite_fraction": 0.01},
            "elite_fraction must be large enough to keep 2 of pop",
        ),
        (CEM, [0.0], {"elite_fraction": 0.0}, r"elite_fraction must be in \(0, 1\), got 0.0"),
        (MuLambdaES, [0.0], {"population": 8, "mu": 8}, "mu must be < population = 8, got 8"),
        (CMAES, LARGE, {}, "policy must be one of at most 4000 parameters for a full covariance .separable=True takes"),
        (REPS, LARGE, {"covariance": "full"}, "policy must be one of at most 4000 parameters for a full covariance"),
        (PoWER, [0.0], {"covariance": "full"}, "covariance must be diagonal for PoWER, got 'full'"),
        (PoWER, [0.0], {"kept": 10, "variance_kept": 5}, "variance_kept must be >= kept = 10, got 5"),
        (PI2, [0.0], {"form": "time_step"}, "policy must be linear in features, for time_step, got Constant"),
        (RWR, [0.0], {"episodes": 3}, "num_envs must be a multiple of episodes = 3, got 4"),
        (RWR, [0.0], {"workers": 1, "cluster": "local"}, "workers must be 0 if a cluster is given, got 1"),
        (RWR, [0.0], {"common_numbers": "all"}, "common_numbers must be one of none, generation, run, got 'all'"),
        (REPS, [0.0], {"epsilon": 0.0}, "epsilon must be finite and > 0, got 0.0"),
        (CEM, [0.0], {"init_std": float("nan")}, "init_std must be finite and > 0, got nan"),
    ],
)
def test_bad_options_are_refused(cls, start, options, message):
    with pytest.raises(ValueError, match=message):
        searcher(cls, start, **options)


def test_large_policies_can_use_the_separable_form():
    algorithm = searcher(CMAES, LARGE, separable=True)
    candidates = algorithm.ask()
    algorithm.tell(candidates, candidates.vectors().sum(1), None)
    assert algorithm.vector().sum() > 0


def test_power_needs_positive_returns_without_a_shift():
    with pytest.raises(UsageError, match="shift must be true for negative returns, got false and -1.0"):
        tell(searcher(PoWER, [0.0], shift=False), [[0.0], [1.0]], [1.0, -1.0])


ALL = (CEM, CMAES, RWR, PoWER, PI2, REPS, EvolutionStrategies, MuLambdaES, FiniteDifferences)


@pytest.mark.parametrize("cls", ALL)
def test_equal_returns_change_nothing(cls):
    env = vector(Chain, 4)  # every episode pays 3
    policy = LinearPolicy(env.single_observation_space, env.single_action_space).double()
    algorithm = cls(env, policy)
    before = {name: value.clone() for name, value in algorithm.state_dict().items()}
    for generation in (1, 2):
        assert algorithm.train_iteration()["return"] == 3.0
        assert algorithm.iteration == generation and algorithm.env_steps % (3 * generation) == 0 < algorithm.env_steps
    for name, value in algorithm.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_only_sync_vector_environments_and_mdps_are_rolled_out():
    class Other(SyncVectorEnv):
        pass

    env = vector(Chain, 2)
    policy = LinearPolicy(env.single_observation_space, env.single_action_space).double()
    CEM(Other([partial(Chain)] * 2, autoreset_mode=AutoresetMode.DISABLED), policy)
    with pytest.raises(ValueError, match="env's autoreset_mode must be DISABLED"):
        CEM(VectorWrapper(SyncVectorEnv([partial(Chain)] * 2)), policy)


def test_step_reps_needs_a_stochastic_policy():
    env = vector(Chain, 2)
    policy = LinearPolicy(env.single_observation_space, env.single_action_space).double()
    with pytest.raises(TypeError, match="policy must be a stochastic one, such as GaussianMLP, got LinearPolicy"):
        StepREPS(env, policy)


@pytest.mark.parametrize("name", [name for name, module in ALGORITHMS.items() if ".black_box." in module])
def test_the_command_line_trains_by_each(name, tmp_path, capsys):
    small = ["--task", "CartPole-v1", "--num_envs", 2, "--iterations", 2, "--evaluate_every", 2]
    small += ["--evaluate_episodes", 1, "--final_episodes", 1, "--horizon", 20, "--run", tmp_path / "run"]
    if "population" in choose("algorithm", name, ALGORITHMS).options:
        small += ["--population", 20]
    assert diffsim("fit", "--algorithm", name, *small) == 0, capsys.readouterr().err
    assert diffsim("evaluate", tmp_path / "run", "--episodes", 1) == 0, capsys.readouterr().err
    assert "return" in capsys.readouterr().out


def test_help_describes_the_options(capsys):
    with pytest.raises(SystemExit):
        diffsim("fit", "--algorithm", "CEM", "--help")
    out = " ".join(capsys.readouterr().out.split())
    for words in ("--elite_fraction", "part of the members that are kept. Must be in (0, 1).", "--workers", "--bias"):
        assert words in out, words
