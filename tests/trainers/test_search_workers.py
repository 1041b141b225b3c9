"""Workers of a search: the same bits with any number of them, with one killed, on Ray, and after a resume."""

import os
import signal
import time
import warnings
from functools import partial
from pathlib import Path

import pytest
import torch
from gymnasium.envs.classic_control.cartpole import CartPoleEnv
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import TimeLimit

from diffsim.gym import VectorEnv
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
from diffsim.trainers.errors import NonFiniteError
from diffsim.trainers.experience.vector_env import make_env
from diffsim.trainers.run.arguments import RunOptions
from tests.processes import Process
from tests.trainers.commands import diffsim, metrics, saved
from tests.trainers.linear import LinearQuadratic
from tests.trainers.running import assert_resumes_exactly, runner

ROOT = Path(__file__).parents[2]


class Fragile(CartPoleEnv):
    """A cart-pole whose process is killed in the tenth step, once: it leaves a file behind."""

    def __init__(self, mark=None, error=False):
        super().__init__()
        self.mark, self.error, self.count = mark, error, 0

    def step(self, action):
        self.count += 1
        if self.error and self.count == 10:
            raise RuntimeError("the cart has left its track")
        if self.mark is not None and self.count == 10 and not self.mark.exists():
            self.mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().step(action)


def cartpole(**kwargs):
    return TimeLimit(Fragile(**kwargs), 60)


def search(cls=EvolutionStrategies, workers=0, normalize=True, options=None, **kwargs):
    env = SyncVectorEnv([partial(cartpole, **kwargs)] * 2, autoreset_mode=AutoresetMode.DISABLED)
    policy = LinearPolicy(env.single_observation_space, env.single_action_space, normalize=normalize).double()
    return cls(env, policy, **{"workers": workers, "seed": 3, **({"population": 8} if options is None else options)})


def trained(algorithm, generations=3):
    """Parameters, observation statistics and metrics after training."""
    try:
        rows = [algorithm.train_iteration() for _ in range(generations)]
    finally:
        algorithm.close()
    return algorithm.vector(), algorithm.policy.normalizer.mean, rows


def assert_equal(one, other):
    assert torch.equal(one[0], other[0]) and torch.equal(one[1], other[1]) and one[2] == other[2]
    assert one[0].any()


@pytest.fixture(scope="module")
def expected():
    return trained(search())


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_results_do_not_depend_on_the_number_of_workers(workers, expected):
    assert_equal(trained(search(workers=workers)), expected)


def test_a_dead_workers_share_is_evaluated_again(tmp_path, expected):
    mark = tmp_path / "killed"
    assert_equal(trained(search(workers=2, mark=mark)), expected)
    assert mark.exists()


def test_training_fails_if_workers_die_again_and_again(tmp_path):
    algorithm = search(workers=1, mark=tmp_path / "missing" / "file")
    algorithm.setup_of_workers = type(algorithm.setup_of_workers)(
        _deadly, *list(vars(algorithm.setup_of_workers).values())[1:]
    )
    with pytest.raises(RuntimeError, match="workers died 5 times while they evaluated one generation"):
        trained(algorithm)


def _deadly():
    os.kill(os.getpid(), signal.SIGKILL)


def test_an_error_in_a_worker_is_raised_here():
    algorithm = search(workers=1, error=True)
    with pytest.raises(RuntimeError, match="the cart has left its track"):
        trained(algorithm)


def test_workers_simulate_our_tasks_and_gymnasiums(tmp_path):
    for task in ("diffsim/InvertedPendulum-v5", "Pendulum-v1"):
        found = []
        for workers in (0, 1):
            env = make_env(task, 4, seed=1)
            policy = LinearPolicy(env.single_observation_space, env.single_action_space, normalize=True).double()
            algorithm = CEM(env, policy, population=8, elite_fraction=0.5, horizon=30, workers=workers)
            found.append(trained(algorithm, 2))
        assert_equal(*found)


def test_an_environment_that_others_cannot_make_needs_no_workers():
    env = VectorEnv(LinearQuadratic(4))
    policy = LinearPolicy(env.single_observation_space, env.single_action_space).double()
    with pytest.raises(ValueError, match="workers must be 0"):
        CEM(env, policy, workers=2)


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::FutureWarning", "ignore::DeprecationWarning")
def test_ray_gives_the_same_bits(tmp_path, expected):
    pytest.importorskip("ray")
    before = signal.getsignal(signal.SIGTERM)
    mark = tmp_path / "killed"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert_equal(trained(search(mark=mark, options={"population": 8, "cluster": "local"})), expected)
    assert mark.exists()
    signal.signal(signal.SIGTERM, before)


# ------------------------------------------------------------------------------------------------ resuming

FEW = {"population": 8}
METHODS = {
    "CEM": (CEM, {**FEW, "elite_fraction": 0.5, "extra_std": 0.1, "extra_decay": 20}),
    "CEM, full": (CEM, {**FEW, "elite_fraction": 0.5, "covariance": "full"}),
    "CMAES": (CMAES, {}),
    "CMAES, separable": (CMAES, {"separable": True}),
    "RWR": (RWR, FEW),
    "PoWER": (PoWER, FEW),
    "PI2": (PI2, {**FEW, "adaptation": 0.2}),
    "PI2, by time": (PI2, {**FEW, "form": "time_step"}),
    "REPS": (REPS, {**FEW, "covariance": "full"}),
    "EvolutionStrategies": (EvolutionStrategies, FEW),
    "MuLambdaES": (MuLambdaES, {**FEW, "mu": 3}),
    "MuLambdaES, plain": (MuLambdaES, {**FEW, "mu": 3, "recombination": False}),
    "FiniteDifferences": (FiniteDifferences, {}),
}


@pytest.mark.parametrize("name", METHODS)
def test_resuming_is_exact(name, tmp_path):
    cls, options = METHODS[name]

    def fresh():
        algorithm = search(cls, options=options)
        del algorithm.env  # nothing of the environments is kept between generations
        return algorithm

    run = runner(RunOptions(task="CartPole-v1", evaluate_every=3))
    assert_resumes_exactly(run, fresh, tmp_path, "policy.weight", 6)


FIT = ["--task=CartPole-v1", "--algorithm=CMAES", "--num_envs=4", "--evaluate_every=1", "--evaluate_episodes=1"]
FIT += ["--final_episodes=1", "--horizon=60", "--iterations=60"]


def test_a_killed_run_continues_to_the_same_bits(tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    process = Process(("-m", "diffsim.trainers.cli", "fit", *FIT, f"--run={parts}"), cwd=ROOT)
    checkpoint, deadline = parts / "checkpoints" / "last.ckpt", time.monotonic() + 120
    while not checkpoint.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert saved(parts)["diffsim"]["iteration"] < 60
    assert diffsim("fit", *FIT, f"--run={whole}") == 0
    assert diffsim("fit", "--resume", parts) == 0
    assert metrics(whole) == metrics(parts) and len(metrics(whole)) == 60
    one, other = saved(whole), saved(parts)
    for name, value in one["state_dict"].items():
        assert torch.equal(value, other["state_dict"][name]), name
    assert torch.equal(one["diffsim"]["cma"]["_C"], other["diffsim"]["cma"]["_C"])


def test_a_return_that_is_not_finite_names_the_member():
    class Broken(CartPoleEnv):
        def step(self, action):
            obs, reward, *rest = super().step(action)
            return obs, float("nan") if self.state[0] > 0.3 else reward, *rest

    env = SyncVectorEnv([lambda: TimeLimit(Broken(), 100)] * 2, autoreset_mode=AutoresetMode.DISABLED)
    policy = LinearPolicy(env.single_observation_space, env.single_action_space).double()
    algorithm = CEM(env, policy, population=40, elite_fraction=0.1)
    with pytest.raises(NonFiniteError, match=r"return of member \d+ of generation \d+ must be finite, got nan"):
        for _ in range(20):
            algorithm.train_iteration()
