"""What one process of A3C does: act, and learn, on its own; the parameters are everybody's."""

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
from diffsim.trainers.errors import NonFiniteError
from diffsim.trainers.experience.sync_vector_env import FastSyncVectorEnv
from diffsim.trainers.experience.vector_env import ReplayedEnv
from diffsim.trainers.likelihood_ratio.a2c import A2C, RMSPROP
from diffsim.trainers.likelihood_ratio.on_policy import NORMALIZER_WARM_UP_STEPS
from diffsim.trainers.maths.schedule import Decay


class Shared(NamedTuple):
    """What all processes read and write, without locks.

    Attributes:
        actor: the policy, in shared memory.
        value: likewise.
        squares: RMSprop's running mean squares of the gradients of policy and value, parameter by parameter.
    """

    actor: StochasticPolicy
    value: nn.Module
    squares: list[Tensor]

    def parameters(self) -> list[nn.Parameter]:
        """Of policy and value, in the order of `squares`."""
        return [*self.actor.parameters(), *self.value.parameters()]


class Report(NamedTuple):
    """What a process has to say after its part of an iteration.

    Attributes:
        env_steps: taken.
        metrics: as A2C's.
        obs: [..., O] of each window, for the normaliser, which is everybody's.
        state: what its next steps depend on, beside what is shared.
    """

    env_steps: int
    metrics: dict[str, float]
    obs: list[Tensor]
    state: dict[str, Any]


class Failure(NamedTuple):
    """What a process says when it cannot go on.

    Attributes:
        message: of the error.
        traceback: where it came from.
        nonfinite: whether it was a NonFiniteError.
    """

    message: str
    traceback: str
    nonfinite: bool


class SharedRMSprop(Optimizer):
    """Descends shared parameters by gradients of a copy, and then brings the copy up to date.

        s <- alpha s + (1 - alpha) g^2,    theta <- theta - learning_rate * g / (sqrt(s) + eps),    theta_copy <- theta

    Other processes do the same at the same time; what one of them writes between another's reading and writing is
    lost, which is rare and does no harm. A copy can miss, until its next step, what others have learned.

    Args:
        copied: the copy's parameters, whose gradients are used.
        shared: the shared ones.
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


class Learner(A2C):
    """A2C on a copy of the shared parameters, with the shared optimizer.

    Args:
        shared: what it learns on.
        env_fns: of its copies of the environment.
        learners: how many learn at the same time.
        seed: its own.
        **options: of A2C.
    """

    def __init__(
        self, shared: Shared, env_fns: list[Callable[[], Any]], *, learners: int, seed: int, **options: Any
    ) -> None:
        env = ReplayedEnv(FastSyncVectorEnv(env_fns), seed)
        super().__init__(env, copy.deepcopy(shared.actor), seed=seed, **options)
        self.value.load_state_dict(shared.value.state_dict())
        self.common, self.learners = shared, learners
        self.warm_up_steps = -(-NORMALIZER_WARM_UP_STEPS // learners)
        own = [*self.actor.parameters(), *self.value.parameters()]
        self.optimizer = SharedRMSprop(own, shared.parameters(), shared.squares, lr=self.learning_rate, **RMSPROP)
        self.seen: list[Tensor] = []

    def work(self, env_steps: int) -> Report:
        """Does its part of an iteration that begins after `env_steps` of all processes."""
        self.actor.load_state_dict(self.common.actor.state_dict())
        self.value.load_state_dict(self.common.value.state_dict())
        self.begun, self.env_steps, self.seen = env_steps, env_steps, []
        metrics = {name: float(value) for name, value in self.iterate().items()}
        return Report(self.env_steps - env_steps, metrics, self.seen, self.own_state())

    def own_state(self) -> dict[str, Any]:
        """All that its next steps depend on, beside what is shared, as plain tensors."""
        own: dict[str, Any] = {"generator": self.generator.get_state(), "running_return": self.running_return.clone()}
        if self.reward_normalizer is not None:
            own["rewards"] = dict(self.reward_normalizer.state_dict())
        return {**own, "env": self.env.state_dict()}

    def load_own_state(self, state: dict[str, Any]) -> None:
        """Goes back to where `own_state` was called."""
        self.generator.set_state(state["generator"].cpu())
        self.running_return.copy_(state["running_return"])
        self.env.load_state_dict(state["env"])
        if self.reward_normalizer is not None:
            self.reward_normalizer.load_state_dict(state["rewards"])

    def decayed(self, optimizer: Optimizer, learning_rate: float, decay_env_steps: Decay) -> float:
        """As A2C's, by the steps of all processes: the others are taken to be as fast as this one."""
        own = self.env_steps
        self.env_steps = self.begun + self.learners * (own - self.begun)
        rate = super().decayed(optimizer, learning_rate, decay_env_steps)
        self.env_steps = own
        return rate

    def only_optimizer(self) -> Optimizer:
        """The shared one."""
        return self.optimizer

    def manual_backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        """Without a trainer there is nothing to scale."""
        loss.backward()

    def update_normalizer(self, obs: Tensor) -> None:
        """As A2C, and keeps `obs` for all, who begin the next iteration with one pair of statistics."""
        super().update_normalizer(obs)
        self.seen.append(obs)


def serve(connection: Connection, shared: Shared, env_fns: list[Callable[[], Any]], options: dict[str, Any]) -> None:
    """Learns whenever told to, until the other end of the connection is closed.

    The first message is the state to begin from, or None; each one after it is the count of env steps so far, and is
    answered by a `Report`, or in the end by a `Failure`. Ctrl-C is for the process that owns this one: it decides when
    to stop.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    try:
        learner, state = Learner(shared, env_fns, **options), receive(connection)
        if state is not None:
            learner.load_own_state(state)
        while True:
            send(connection, learner.work(receive(connection)))
    except (EOFError, BrokenPipeError):
        return  # nobody listens any more
    except Exception as error:
        failure = Failure(str(error), traceback.format_exc(), isinstance(error, NonFiniteError))
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
