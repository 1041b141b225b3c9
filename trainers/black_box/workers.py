"""Who evaluates the shares of a population: this process, other processes, or a Ray cluster."""

from __future__ import annotations

import copy
import importlib
import pickle
import signal
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from typing import Any

import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.vector.utils import CloudpickleWrapper

from diffsim.policies import Policy
from diffsim.trainers.black_box.make_rollouts import make_rollouts
from diffsim.trainers.black_box.rollouts import Rollouts
from diffsim.trainers.black_box.shares import Answer, EpisodeOptions, Share
from diffsim.trainers.errors import UsageError, WorkerError
from diffsim.trainers.experience.vector_env import ResumableEnv, resumable

MAX_DEATHS = 5
"""Deaths of workers within one generation after which training fails."""
SHARE_SECONDS = 3600.0
"""Time without any answer after which workers count as hanging."""


@dataclass(frozen=True)
class Setup:
    """What a worker needs to make its own environments and members.

    Attributes:
        make: makes the environment.
        policy: class and sizes of the members.
        options: how members are evaluated.
        threads: torch's threads, as in this process: sums may depend on their number.
    """

    make: Callable[[], ResumableEnv]
    policy: Policy
    options: EpisodeOptions
    threads: int

    @classmethod
    def of(cls, env: ResumableEnv, policy: Policy, options: EpisodeOptions) -> Setup:
        """The setup for an environment of this process.

        Raises: ValueError if other processes cannot make it.
        """
        make = env.remake
        if make is None and isinstance(env.env, SyncVectorEnv):
            make = partial(_made_again, [CloudpickleWrapper(fn) for fn in env.env.env_fns], options.seed)
        if make is None:
            raise ValueError(
                "workers must be 0, and cluster None, for an environment that other processes cannot make: make it "
                "with make_env or as a SyncVectorEnv"
            )
        return cls(make, copy.deepcopy(policy), options, torch.get_num_threads())


class Workers(ABC):
    """Evaluates shares."""

    @abstractmethod
    def evaluate(self, shares: Sequence[Share]) -> list[Answer]:
        """The answers, in order. What goes wrong in a share is raised here."""

    @abstractmethod
    def close(self) -> None:
        """Ends the workers. They start again at the next call."""


class ThisProcess(Workers):
    """Evaluates all shares here, in the environment that it is given."""

    def __init__(self, rollouts: Rollouts) -> None:
        self.rollouts = rollouts

    def evaluate(self, shares: Sequence[Share]) -> list[Answer]:
        """Evaluates one share after the other."""
        return [self.rollouts(share) for share in shares]

    def close(self) -> None:
        """Ends nothing: there is no other process."""


class Processes(Workers):
    """Processes on this machine. The shares of a process that dies are evaluated again, by new processes.

    They ignore Ctrl-C, and end with this process.

    Args:
        setup: of every process.
        count: number of processes, at least 1.
    """

    def __init__(self, setup: Setup, count: int) -> None:
        self.setup, self.count = pickle.dumps(setup), count
        self.pool: ProcessPoolExecutor | None = None

    def evaluate(self, shares: Sequence[Share]) -> list[Answer]:
        """Gives a share to every process that is idle, until all are evaluated.

        Raises: WorkerError if processes die again and again, or give no answer for SHARE_SECONDS.
        """
        answers: dict[int, Answer] = {}
        for _ in range(MAX_DEATHS):
            futures = {i: self._submit(share) for i, share in enumerate(shares) if i not in answers}
            try:
                for i, future in futures.items():
                    answers[i] = self._answer(future)
                return [answers[i] for i in range(len(shares))]
            except BrokenProcessPool:
                answers.update({i: f.result() for i, f in futures.items() if f.done() and f.exception() is None})
                self.close()
        raise WorkerError(f"workers died {MAX_DEATHS} times while they evaluated one generation")

    def _answer(self, future: Future[Answer]) -> Answer:
        try:
            return future.result(timeout=SHARE_SECONDS)
        except TimeoutError:
            if future.done():
                raise  # an error of the share itself
            assert self.pool is not None
            for process in list(self.pool._processes.values()):  # `shutdown` would wait for them
                process.kill()
            raise WorkerError(f"workers gave no answer for {SHARE_SECONDS:g} seconds") from None

    def close(self) -> None:
        """Ends the processes."""
        if self.pool is not None:
            self.pool.shutdown(cancel_futures=True)
            self.pool = None

    def _submit(self, share: Share) -> Future[Answer]:
        if self.pool is None:
            # A fork server has no threads and has done all imports: faster than a spawn, and safe, unlike a fork.
            context = get_context("forkserver")
            context.set_forkserver_preload([__name__])
            self.pool = ProcessPoolExecutor(self.count, context, _start, (self.setup,))
        try:
            return self.pool.submit(_evaluate, share)
        except (BrokenProcessPool, EOFError) as error:  # a process, or the fork server, died meanwhile
            broken: Future[Answer] = Future()
            broken.set_exception(BrokenProcessPool(*error.args))
            return broken


class Ray(Workers):
    """Processes of a Ray cluster, as many as it has free processors. Ray evaluates the shares of a dead one again.

    Args:
        setup: of every process.
        address: of the cluster; "auto" for RAY_ADDRESS or the cluster of this machine; "local" for a new one.

    Raises: UsageError without the `ray` extra.
    """

    def __init__(self, setup: Setup, address: str) -> None:
        try:
            self.ray: Any = importlib.import_module("ray")
        except ImportError as error:
            raise UsageError('cluster needs the "ray" extra: pip install -e ".[ray]"') from error
        self.ours = not self.ray.is_initialized()
        if self.ours:
            self.ray.init(address=address, include_dashboard=False, log_to_driver=False)
        self.setup = self.ray.put(pickle.dumps(setup))
        gpus = 1 if next(setup.policy.parameters()).is_cuda else 0
        self.task = self.ray.remote(num_cpus=setup.threads, num_gpus=gpus, max_retries=MAX_DEATHS)(_evaluate)

    def evaluate(self, shares: Sequence[Share]) -> list[Answer]:
        """Gives all shares to the cluster, and waits for their answers."""
        try:
            return self.ray.get([self.task.remote(share, self.setup) for share in shares])
        except self.ray.exceptions.RayTaskError as error:
            raise error.cause from error  # the exception itself, as from the other workers

    def close(self) -> None:
        """Disconnects from the cluster; a local one that was started here is shut down."""
        if self.ours:
            self.ray.shutdown()


_setup: bytes = b""
"""The setup of this worker."""
_rollouts: Rollouts | None = None
"""The roll-outs of this worker, made by its setup at the first share."""


def _start(setup: bytes) -> None:
    """Prepares a worker process. Ctrl-C is left to the parent."""
    global _setup
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _setup = setup


def _evaluate(share: Share, setup: bytes | None = None) -> Answer:
    """Evaluates a share in a worker, by the setup that it started with, or by the one that comes with the share."""
    global _setup, _rollouts
    if setup is not None and setup != _setup:
        _setup, _rollouts = setup, None
    if _rollouts is None:
        made: Setup = pickle.loads(_setup)
        torch.set_num_threads(made.threads)
        _rollouts = make_rollouts(made.make(), made.policy, made.options)
    return _rollouts(share)


def _made_again(env_fns: Sequence[Callable[[], Any]], seed: int) -> ResumableEnv:
    """The vector environment of these copies."""
    return resumable(SyncVectorEnv([fn for fn in env_fns], autoreset_mode=AutoresetMode.DISABLED), seed)
