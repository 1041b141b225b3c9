"""A3C: one learner equals A2C; several learn together; their processes end after errors, Ctrl-C and kills."""

import os
import signal
import subprocess
import time
from functools import partial
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from torch.optim import RMSprop

from diffsim.policies import CategoricalMLP, GaussianMLP
from diffsim.trainers.cli import main
from diffsim.trainers.errors import NonFiniteError, WorkerError
from diffsim.trainers.experience.vector_env import make_env
from diffsim.trainers.likelihood_ratio.a2c import A2C
from diffsim.trainers.likelihood_ratio.a3c import A3C
from diffsim.trainers.likelihood_ratio.a3c_worker import SharedRMSprop
from diffsim.trainers.likelihood_ratio.on_policy import NORMALIZER_WARM_UP_STEPS
from diffsim.trainers.run.arguments import RunOptions
from diffsim.trainers.run.run_folder import RunFolder
from tests.processes import Process
from tests.trainers.running import runner
from tests.trainers.small_envs import Chain, Target, vector

ROOT = Path(__file__).parents[2]
OPTIONS = RunOptions(task="small", evaluate_every=1000)
SMALL = {"horizon": 4, "updates": 3, "value_hidden_sizes": (8,), "seed": 3}


def make(cls, env, **kwargs):
    torch.manual_seed(0)
    kind = GaussianMLP if hasattr(env.single_action_space, "low") else CategoricalMLP
    net = kind(env.single_observation_space, env.single_action_space, hidden_sizes=(8,)).double()
    return cls(env, net, **{**SMALL, **kwargs})


run = runner(OPTIONS)


def test_one_learner_equals_a2c_and_resumes_exactly(tmp_path):
    def env():
        return vector(Target, 4)

    options = {"decay_env_steps": 400, "entropy_weight": 0.01}
    a2c = run(make(A2C, env(), **options), tmp_path / "a2c", 4)
    a3c = run(make(A3C, env(), learners=1, **options), tmp_path / "a3c", 4)
    run(make(A3C, env(), learners=1, **options), tmp_path / "parts", 2)
    parts = run(make(A3C, env(), learners=1, **options), tmp_path / "parts", 4, resume=True)
    assert a2c.env_steps == a3c.env_steps == parts.env_steps == NORMALIZER_WARM_UP_STEPS + 4 * 48
    for other in (a3c, parts):
        own = {k: v for k, v in a2c.state_dict().items() if k.split(".")[0] in ("policy", "actor", "value")}
        assert own and all(torch.equal(value, other.state_dict()[name]) for name, value in own.items())
    rows = [RunFolder(tmp_path / name).read_metrics() for name in ("a2c", "a3c", "parts")]
    stripped = [[{k: v for k, v in row.items() if not k.endswith("seconds")} for row in r] for r in rows]
    assert stripped[0] == stripped[1] == stripped[2] and len(stripped[0]) == 4
    fresh = make(A2C, env(), **options)
    assert not torch.equal(fresh.policy.network[0].weight, a3c.policy.network[0].weight)  # the parameters have changed


def test_two_learners_learn_the_best_action_together():
    """It is one of three indices and follows from the observation. An untrained policy gives equal probabilities."""
    algorithm = make(A3C, vector(Target, 16, discrete=True), learners=2, learning_rate=0.01, gamma=0.9)
    for _ in range(30):
        algorithm.train_iteration()
    algorithm.close()
    obs = torch.tensor([[1.0, 0.0], [-1.0, 1.0], [1.0, 1.0]], dtype=torch.float64)
    assert algorithm.policy(obs).tolist() == [2, 0, 2]
    assert algorithm.env_steps == NORMALIZER_WARM_UP_STEPS + 30 * 16 * 4 * 3
    assert algorithm.policy.normalizer.count == algorithm.env_steps  # all learners' observations
    episodes = [state["env"]["episode"] for state in algorithm.learner_states]
    assert len(episodes) == 2 and all(len(part) == 8 for part in episodes)
    generators = [state["generator"] for state in algorithm.learner_states]
    assert not torch.equal(*generators)


def test_the_shared_optimizer_by_hand():
    """RMSprop with alpha 0.9 from s = 0: s = 0.1 g^2, so theta moves by lr / sqrt(0.1) against the sign of g.

    The step of a second process, with the same gradient, continues from this s: 0.9 * 0.1 g^2 + 0.1 g^2 = 0.19 g^2.
    """
    shared = torch.nn.Parameter(torch.tensor([1.0, -2.0], dtype=torch.float64))
    squares = torch.zeros(2, dtype=torch.float64)
    expected = shared.detach().clone()
    gradient = torch.tensor([3.0, -0.5], dtype=torch.float64)
    for share in (0.1, 0.19):
        copied = torch.nn.Parameter(shared.detach().clone())
        optimizer = SharedRMSprop([copied], [shared], [squares], lr=0.01, alpha=0.9, eps=1e-12)
        optimizer.step(lambda copied=copied: float((copied * gradient).sum().backward() or 0.0))
        expected -= 0.01 * gradient.sign() / share**0.5
        torch.testing.assert_close(shared.detach(), expected)
        assert torch.equal(copied, shared)
    torch.testing.assert_close(squares, 0.19 * gradient.square())
    alone = torch.nn.Parameter(torch.tensor([1.0, -2.0], dtype=torch.float64))
    torchs = RMSprop([alone], lr=0.01, alpha=0.9, eps=1e-12)
    for _ in range(2):
        alone.grad = gradient.clone()
        torchs.step()
    assert torch.equal(alone, shared)


class Broken(gymnasium.Env):
    """Fails on its third step: by an exception, by ending its process, or by NaN rewards from then on."""

    observation_space, action_space = Chain.observation_space, Chain.action_space

    def __init__(self, how):
        self.how, self.age = how, 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.ones(1), {}

    def step(self, action):
        self.age += 1
        if self.age == 3 and self.how == "raise":
            raise ZeroDivisionError("the wheel came off")
        if self.age == 3 and self.how == "exit":
            os._exit(7)
        return np.ones(1), np.nan if self.age >= 3 and self.how == "nan" else 1.0, False, False, {}


@pytest.mark.parametrize(
    ("how", "error", "message"),
    [
        ("raise", WorkerError, "in learner 1 of A3C: copy 0 of the environment failed: ZeroDivisionError: the wheel"),
        ("exit", WorkerError, "learner 1 of A3C died, with exit code 7"),
        ("nan", NonFiniteError, "in learner 1 of A3C: gradient norm must be finite, got nan"),
    ],
)
def test_an_error_of_a_learner_is_raised_and_ends_all_learners(how, error, message):
    fns = [partial(Chain, limit=5), partial(Broken, how)]
    env = SyncVectorEnv(fns, autoreset_mode=AutoresetMode.DISABLED)
    algorithm = make(A3C, env, learners=2, normalize_reward=False)
    with pytest.raises(error, match=message):
        algorithm.iterate()
    assert len(algorithm.pool.processes) == 2
    assert not any(process.is_alive() for process in algorithm.pool.processes)


def test_close_ends_the_learners():
    algorithm = make(A3C, vector(Target, 2), learners=2)
    algorithm.iterate()
    processes = algorithm.pool.processes
    assert all(process.is_alive() for process in processes)
    algorithm.close()
    assert not any(process.is_alive() for process in processes) and algorithm.pool is None


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"


def children(pid):
    """Processes below `pid`, and below those."""
    found = subprocess.run(["ps", "-eo", "pid,ppid"], capture_output=True, text=True, check=True).stdout.split()[2:]
    pairs = list(zip(map(int, found[::2]), map(int, found[1::2]), strict=True))
    below, edge = set(), {pid}
    while edge := {child for child, parent in pairs if parent in edge} - below:
        below |= edge
    return below


@pytest.mark.parametrize("kind", ["ctrl-c", "killed"])
def test_no_process_is_left_running(tmp_path, kind):
    """Ctrl-C is sent to the whole process group: training stops after the iteration, and saves a checkpoint."""
    words = "fit --task CartPole-v1 --algorithm A3C --env_steps 100000000 --updates 1 --num_envs 2".split()
    words += ["--evaluate_every", "1000000", "--evaluate_episodes", "1", "--run", str(tmp_path / "run")]
    output = (tmp_path / "out").open("w+")
    process = Process(("-m", "diffsim.trainers.cli", *words), output, cwd=ROOT, start_new_session=True)
    folder = RunFolder(tmp_path / "run")
    try:
        deadline = time.monotonic() + 300
        while not folder.metrics.exists() or len(folder.read_metrics()) < 2:
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
        below = children(process.pid)
        assert len(below) >= 3  # two learners and the fork server
        if kind == "ctrl-c":
            os.killpg(process.pid, signal.SIGINT)
            assert process.wait(300) == 128 + signal.SIGINT and folder.checkpoint.is_file()
            output.seek(0)
            assert "Stopped. To continue" in output.read()
        else:
            process.kill()
        deadline = time.monotonic() + 120
        while any(alive(pid) for pid in below):
            assert time.monotonic() < deadline, "processes are left running"
            time.sleep(0.05)
    finally:
        process.kill()
        output.close()


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"learners": 0}, "learners must be >= 1, got 0"),
        ({"learners": 3}, "num_envs must be a multiple of learners = 3, got 4"),
    ],
)
def test_errors_name_argument_rule_and_value(kwargs, message):
    with pytest.raises(ValueError, match=message):
        make(A3C, vector(Target, 4), **kwargs)


def test_our_simulator_is_refused():
    with pytest.raises(ValueError, match="env must be a SyncVectorEnv, .* for diffsim/<id> there is A2C"):
        make(A3C, make_env("diffsim/InvertedPendulum-v5", 2))


def test_fit_trains_it(tmp_path):
    words = ["--task", "CartPole-v1", "--algorithm", "A3C", "--updates", "2", "--iterations", "2", "--num_envs", "4"]
    assert main(["fit", *words, "--evaluate_episodes", "1", "--run", str(tmp_path / "run")]) == 0
