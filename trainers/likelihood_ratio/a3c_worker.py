"""One process of A3C: it acts and learns with its own copies of the environment, on shared parameters."""

from __future__ import annotations

import contextlib
import copy
import pickle
import signal
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer, RMSprop

from diffsim.policies import StochasticPolicy
from diffsim.trainers.errors import NonFiniteError, WorkerError
from diffsim.trainers.experience.sync_vector_env import FastSyncVectorEnv
from diffsim.trainers.experience.vector_env import ReplayedEnv
from diffsim.trainers.likelihood_ratio.a2c import RMSPROP, AdvantageActorCritic
from diffsim.trainers.likelihood_ratio.on_policy import NORMALIZER_WARM_UP_STEPS
from diffsim.trainers.metrics import Metric
from diffsim.trainers.options import given, option


class Shared(NamedTuple):
    """What all processes read and write, without locks.

    Attributes:
        actor: the policy, in shared memory.
        value: the value network, in shared memory.
        squares: RMSprop's running mean squares of the gradients of policy and value, one tensor per parameter.
    """

    actor: StochasticPolicy
    value: nn.Module
    squares: list[Tensor]

    def parameters(self) -> list[nn.Parameter]:
        """The parameters of policy and value, in the order of `squares`."""
        return [*self.actor.parameters(), *self.value.parameters()]


class Report(NamedTuple):
    """The result of a learner's part of an iteration.

    Attributes:
        env_steps: taken.
        metrics: those of A2C.
        obs: [..., O] of each window, for the shared observation statistics.
        state: the learner's `own_state`.
    """

    env_steps: int
    metrics: dict[str, float]
    obs: list[Tensor]
    state: dict[str, Any]


class Failure(NamedTuple):
    """The error that ended a learner.

    Attributes:
        message: of the error.
        traceback: of the error, as text.
        error: its type if it is one that the command line prints as one line; None for others.
    """

    message: str
    traceback: str
    error: type[NonFiniteError] | type[WorkerError] | None


class SharedRMSprop(Optimizer):
    """RMSprop on shared parameters, by the gradients of a copy. It then copies the parameters back.

        s <- alpha s + (1 - alpha) g^2,    theta <- theta - learning_rate * g / (sqrt(s) + eps),    theta_copy <- theta

    Other processes do the same at the same time, without locks: what one of them writes between another's reading and
    writing is lost, which is rare and harmless. A copy can miss the updates of others until its next step.

    Args:
        copied: the copy's parameters, whose gradients are used.
        shared: the shared parameters.
        squares: s, shared.
        **options: of RMSprop.

    Source: Mnih et al. (2016), section 4 and algorithm S3; Recht et al. (2011), "Hogwild!".
    """

    def __init__(
        self, copied: list[nn.Parameter], shared: list[nn.Parameter], squares: list[Tensor], **options: Any
    ) -> None:
        super().__init__(copied, options)
        self.copied, self.shared = copied, shared
        self.inner = RMSprop(shared, **options)
        for parameter, square in zip(shared, squares, strict=True):
            self.inner.state[parameter] = {"step": torch.zeros(()), "square_avg": square}

    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Takes one step; `closure` computes the loss and the copy's gradients."""
        loss = None if closure is None else closure()
        self.inner.param_groups[0]["lr"] = self.param_groups[0]["lr"]
        for shared, copied in zip(self.shared, self.copied, strict=True):
            shared.grad = copied.grad
        self.inner.step()
        with torch.no_grad():
            for shared, copied in zip(self.shared, self.copied, strict=True):
                copied.copy_(shared)
        return loss


class Learner(AdvantageActorCritic):
    """Advantage actor-critic on a copy of the shared parameters, with the shared optimizer."""

    shared: Shared = given("what it learns on.", kw_only=True)
    learners: int = option("number of learners at work at the same time.", ">= 1", default=1)

    def setup(self) -> None:
        """Copies the shared value."""
        super().setup()
        self.value.load_state_dict(self.shared.value.state_dict())
        self.warm_up_steps = -(-NORMALIZER_WARM_UP_STEPS // self.learners)
        self.window_obs: list[Tensor] = []

    def make_optimizers(self) -> list[Optimizer]:
        """RMSprop on the shared parameters."""
        own, shared, squares = self.trained_parameters(), self.shared.parameters(), self.shared.squares
        return [SharedRMSprop(own, shared, squares, lr=self.learning_rate, **RMSPROP)]

    def iterate(self) -> dict[str, Metric]:
        """Copies the shared parameters and statistics, and trains on its windows."""
        self.actor.load_state_dict(self.shared.actor.state_dict())
        self.value.load_state_dict(self.shared.value.state_dict())
        self.window_obs = []
        return self.train_windows()

    def work(self, env_steps: int) -> Report:
        """Does its part of an iteration that begins after `env_steps` of all learners."""
        self.env_steps = env_steps
        metrics = self.train_iteration()
        return Report(self.env_steps - env_steps, metrics, self.window_obs, self.own_state())

    def own_state(self) -> dict[str, Any]:
        """What its next steps depend on and is not shared, as plain tensors."""
        own: dict[str, Any] = {"generator": self.generator.get_state(), "running_return": self.running_return.clone()}
        if self.reward_normalizer is not None:
            own["rewards"] = dict(self.reward_normalizer.state_dict())
        return {**own, "env": self.envs.state_dict()}

    def load_own_state(self, state: dict[str, Any]) -> None:
        """Restores what `own_state` returned."""
        self.generator.set_state(state["generator"].cpu())
        self.running_return.copy_(state["running_return"])
        self.envs.load_state_dict(state["env"])
        if self.reward_normalizer is not None:
            self.reward_normalizer.load_state_dict(state["rewards"])

    def schedule_env_steps(self) -> int:
        """Env steps of all learners, if the others are as fast as this one."""
        return self.env_steps_before + self.learners * (self.env_steps - self.env_steps_before)

    def update_normalizer(self, obs: Tensor) -> None:
        """Updates its own statistics, and keeps `obs` for the shared ones."""
        super().update_normalizer(obs)
        self.window_obs.append(obs)


def serve(connection: Connection, shared: Shared, env_fns: list[Callable[[], Any]], options: dict[str, Any]) -> None:
    """Runs a learner until the other end of the connection is closed.

    The first message is the learner's state to continue from, or None. Each later one is the count of env steps so
    far; the answer is a `Report`, or a `Failure`, which is the last. Ctrl-C is ignored: the process that started this
    one decides when to stop.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    try:
        env = ReplayedEnv(FastSyncVectorEnv(env_fns), options["seed"])
        learner = Learner(env, copy.deepcopy(shared.actor), shared=shared, **options)
        state = receive(connection)
        if state is not None:
            learner.load_own_state(state)
        while True:
            send(connection, learner.work(receive(connection)))
    except (EOFError, BrokenPipeError):
        return  # the other end was closed
    except Exception as error:
        kind = next((kind for kind in (NonFiniteError, WorkerError) if isinstance(error, kind)), None)
        failure = Failure(str(error), traceback.format_exc(), kind)
        with contextlib.suppress(OSError):
            send(connection, failure)


def send(connection: Connection, message: Any) -> None:
    """Sends a message by value: tensors would otherwise be sent as handles of shared memory, which run out."""
    connection.send_bytes(pickle.dumps(message))


def receive(connection: Connection) -> Any:
    """Waits for a message.

    Raises: EOFError if the other end is closed.
    """
    return pickle.loads(connection.recv_bytes())
