"""Environments that raise errors, and processes that die or hang: one message, and the last checkpoint is kept."""

import os
import re
import signal
import time
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing import Pipe
from types import SimpleNamespace

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from gymnasium.wrappers.vector import RecordEpisodeStatistics

from diffsim.engine.black_box import Pool
from diffsim.policies import GaussianMLP, LinearPolicy
from diffsim.trainers.black_box import workers
from diffsim.trainers.black_box.cem import CEM
from diffsim.trainers.errors import WorkerError
from diffsim.trainers.experience.env_faults import answer_within, in_time
from diffsim.trainers.experience.vector_env import ReplayedEnv
from diffsim.trainers.likelihood_ratio import a3c_pool
from diffsim.trainers.run.evaluation import OfficialEvaluation
from tests.trainers.commands import diffsim
from tests.trainers.small_envs import Chain

LATE = r"copy {} of the environment gave no answer for {} seconds \(env_timeout\)"
RAISED = "copy 1 of the environment failed: ZeroDivisionError: the wheel came off"


class Faulty(Chain):
    """Fails as told in the third step of an episode, if it is broken."""

    broken = True

    def __init__(self, how="fine"):
        super().__init__(limit=5)
        self.how = how

    def step(self, action):
        if self.broken and self.age == 2 and self.how == "raise":
            raise ZeroDivisionError("the wheel\ncame off")
        if self.age == 2 and self.how == "exit":
            os._exit(7)
        if self.broken and self.age == 2 and self.how == "hang":
            time.sleep(60)
        return super().step(action)


class SecondEpisode(Faulty):
    """Fails in its second episode: in the second iteration of the run below, after the first checkpoint."""

    def __init__(self, fault="raise"):
        super().__init__()
        self.fault = fault

    def reset(self, *, seed=None, options=None):
        self.how = self.fault if hasattr(self, "age") else "fine"
        return super().reset(seed=seed)


gymnasium.register("Faulty-v0", Faulty)
gymnasium.register("SecondEpisode-v0", SecondEpisode)


def step_three_times(env):
    for _ in range(3):
        env.step(np.zeros((env.num_envs, 1)))


def test_an_error_of_an_environment_names_copy_and_cause():
    fns = [Faulty, partial(Faulty, "raise")]
    with pytest.raises(WorkerError, match=RAISED):
        step_three_times(ReplayedEnv(SyncVectorEnv(fns, autoreset_mode=AutoresetMode.DISABLED), 0))
    policy = GaussianMLP(Chain.observation_space, Chain.action_space).double()
    with pytest.raises(WorkerError, match=RAISED.replace("1", "0")):
        OfficialEvaluation("Faulty-v0", {"how": "raise"}, episodes=2).run(policy)
    env = SyncVectorEnv([*fns, Faulty, Faulty], autoreset_mode=AutoresetMode.DISABLED)
    search = CEM(
        env, LinearPolicy(Chain.observation_space, Chain.action_space).double(), population=4, elite_fraction=0.5
    )
    with pytest.raises(WorkerError, match=RAISED):
        search.iterate()


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("raise", RAISED),
        ("exit", "the process of copy 1 of the environment died, with exit code 7"),
        ("hang", LATE.format(1, 0.5)),
    ],
)
@pytest.mark.parametrize("wrapped", [False, True])
def test_processes_of_copies_end_with_one_message(how, message, wrapped, recwarn):
    env = AsyncVectorEnv([Faulty, partial(Faulty, how), Faulty], autoreset_mode=AutoresetMode.DISABLED)
    replayed = ReplayedEnv(RecordEpisodeStatistics(env) if wrapped else env, 0)
    with answer_within(0.5), pytest.raises(WorkerError, match=message):
        step_three_times(replayed)
    assert not {"step_wait", "reset_wait"} & set(vars(env))
    assert env.closed and not any(process.is_alive() for process in env.processes)
    assert not [warning for warning in recwarn if "Worker" in str(warning.message)], "Gymnasium's are not shown"


def test_a_copy_in_this_process_that_hangs_is_named():
    """In training, in an evaluation, and in a search. A handler of the user's own stays."""
    fns = [Faulty, partial(Faulty, "hang"), Faulty, Faulty]
    env = SyncVectorEnv(fns, autoreset_mode=AutoresetMode.DISABLED)
    with answer_within(0.2), pytest.raises(WorkerError, match=LATE.format(1, 0.2)):
        step_three_times(ReplayedEnv(env, 0))
    policy = GaussianMLP(Chain.observation_space, Chain.action_space).double()
    with answer_within(0.2), pytest.raises(WorkerError, match=LATE.format(0, 0.2)):
        OfficialEvaluation("Faulty-v0", {"how": "hang"}, episodes=2).run(policy)
    policy = LinearPolicy(Chain.observation_space, Chain.action_space).double()
    with answer_within(0.2), pytest.raises(WorkerError, match=LATE.format(1, 0.2)):
        CEM(env, policy, population=4, elite_fraction=0.5).iterate()
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    previous = signal.signal(signal.SIGALRM, signal.SIG_IGN)
    assert previous is signal.SIG_DFL
    with answer_within(0.2), in_time():
        assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
        assert signal.getsignal(signal.SIGALRM) is signal.SIG_IGN
    signal.signal(signal.SIGALRM, previous)


@pytest.mark.parametrize(("fault", "message"), [("raise", RAISED.replace("1", "0")), ("hang", LATE.format(0, 2))])
def test_a_run_keeps_its_checkpoint_and_resume_goes_on(fault, message, tmp_path, monkeypatch, capsys):
    run = tmp_path / "run"
    words = ["--training_kwargs", f"{{fault: {fault}}}", "--env_timeout", 2]
    words += ["--task", "SecondEpisode-v0", "--algorithm", "A2C", "--num_envs", 2, "--horizon", 5, "--updates", 1]
    words += ["--normalize", "false", "--hidden_sizes", "[4]", "--iterations", 3, "--final_episodes", 1]
    assert diffsim("fit", *words, "--evaluate_every", 1, "--evaluate_episodes", 1, "--run", run) == 1
    error = " ".join(capsys.readouterr().err.split())
    assert re.match(f"diffsim fit: {message}; the checkpoint of iteration 1 is kept", error), error
    assert error.endswith(f"to continue: diffsim fit --resume {run}")
    monkeypatch.setattr(Faulty, "broken", False)
    assert diffsim("fit", "--resume", run) == 0
    assert len((run / "metrics.csv").read_text().splitlines()) == 4


def test_learners_that_give_no_answer_are_ended(monkeypatch):
    monkeypatch.setattr(a3c_pool, "ITERATION_SECONDS", 0.05)
    pool = a3c_pool.LearnerPool.__new__(a3c_pool.LearnerPool)
    ends, closed = [Pipe() for _ in range(2)], []
    pool.connections, pool.close = [here for here, _ in ends], lambda: closed.append(True)
    with pytest.raises(WorkerError, match=r"learner 0, 1 of A3C gave no answer for 0.05 seconds"):
        pool.work(0)
    assert closed == [True]


@pytest.mark.parametrize("deaths", [2, 3])
def test_a_fork_server_that_dies_is_started_again(deaths, monkeypatch):
    monkeypatch.setattr(a3c_pool, "START_PAUSE", 0.0)
    calls = []

    def start():
        calls.append(None)
        if len(calls) <= deaths:
            raise EOFError("unexpected EOF")

    if deaths < 3:
        a3c_pool._start(SimpleNamespace(start=start))
    else:
        with pytest.raises(WorkerError, match="the fork server died 3 times: it lacks memory"):
            a3c_pool._start(SimpleNamespace(start=start))
    assert len(calls) == 3


def test_workers_of_a_search_that_hang_are_killed(monkeypatch):
    monkeypatch.setattr(workers, "SHARE_SECONDS", 0.01)
    processes, killed = workers.Processes.__new__(workers.Processes), []
    processes.pool = SimpleNamespace(_processes={1: SimpleNamespace(kill=lambda: killed.append(1))})
    with pytest.raises(WorkerError, match="workers gave no answer for 0.01 seconds"):
        processes._answer(Future())
    assert killed == [1]


def test_a_dead_process_of_finite_differences_is_one_message():
    def submit(*arguments):
        raise BrokenProcessPool("a child process terminated abruptly")

    pool = Pool.__new__(Pool)
    pool.num_workers, pool.executor = 1, SimpleNamespace(submit=submit)
    with pytest.raises(ChildProcessError, match="a process that computes finite differences died: a child process"):
        pool.map("step", [1, 2])
