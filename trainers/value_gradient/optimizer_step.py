"""Steps of optimizers without what is not needed of them, in compiled graphs as well, and what they tell."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from types import FunctionType, MethodType
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor
from torch.optim import Optimizer

from diffsim.trainers.errors import NonFiniteError, UsageError

P = ParamSpec("P")
R = TypeVar("R")


class OptimizerStep:
    """Steps down losses by one optimizer.

    Args:
        optimizer: with one group of parameters.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = optimizer
        (self.group,) = optimizer.param_groups
        self.parameters: list[Tensor] = self.group["params"]

    def __call__(self, loss: Tensor) -> None:
        """Takes one step down `loss`, whose slope is computed by the optimizer's parameters, and by nothing else."""
        self.step(torch.autograd.grad(loss, self.parameters, allow_unused=True))

    def step(self, slopes: Sequence[Tensor | None]) -> None:
        """Takes the step by `slopes`, one per parameter; None for one that the loss does not depend on."""
        for parameter, slope in zip(self.parameters, slopes, strict=True):
            parameter.grad = slope
        self.optimizer.step()


class CompiledAdam(OptimizerStep):
    """Steps down losses by an Adam, that can be part of a compiled graph, which cannot hold `Adam.step`.

    The same is done to the same parameters, moments and counts:

        m <- beta1 m + (1 - beta1) g,    v <- beta2 v + (1 - beta2) g^2,    g: slope + weight_decay * x
        x <- x - lr / (1 - beta1^t) * m / (sqrt(v / (1 - beta2^t)) + eps)

    What depends on t alone is computed outside the graph, by `prepare`: within, it would be for every weight again.

    Args:
        optimizer: an Adam with one group of parameters, of which a loss depends always on the same.

    Source: Kingma & Ba (2015), "Adam: a method for stochastic optimization", algorithm 1.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        super().__init__(optimizer)
        for parameter in self.parameters:
            if not optimizer.state[parameter]:
                moments = {"exp_avg": torch.zeros_like(parameter), "exp_avg_sq": torch.zeros_like(parameter)}
                optimizer.state[parameter] = {"step": torch.zeros((), device=parameter.device), **moments}
        # As vectors: a compiled graph forgets what it writes into single float64 numbers (torch 2.13).
        names = ("exp_avg", "exp_avg_sq", "step")
        self.state = [[torch.atleast_1d(optimizer.state[x][name]) for name in names] for x in self.parameters]
        self.betas, self.eps, self.weight_decay = (self.group[name] for name in ("betas", "eps", "weight_decay"))
        self.count = max(int(count) for _, _, count in self.state)  # t of the next step, once it is prepared
        self.stepped = True
        self.prepare()

    def prepare(self) -> None:
        """Gets ready for the next step, if there was one since the last call."""
        if self.stepped:
            self.count += 1
            first, second = (1.0 - beta**self.count for beta in self.betas)
            like = self.parameters[0]
            self.scales = torch.tensor([self.group["lr"] / first, second**-0.5], dtype=like.dtype, device=like.device)
        self.stepped = False

    @torch.no_grad()
    def step(self, slopes: Sequence[Tensor | None]) -> None:
        """What `Adam.step` does."""
        beta1, beta2 = self.betas
        rate, inverse_root = self.scales
        for parameter, slope, (mean, square, count) in zip(self.parameters, slopes, self.state, strict=True):
            if slope is None:
                continue
            vector, climb = torch.atleast_1d(parameter, slope)
            if self.weight_decay:
                climb = climb + self.weight_decay * vector
            mean.lerp_(climb, 1.0 - beta1)
            square.lerp_(climb.square(), 1.0 - beta2)
            vector.sub_(rate * mean / (square.sqrt() * inverse_root + self.eps))
            count.add_(1.0)
        self.stepped = True


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """`function`, compiled by torch as one graph when it is first called, with the gradients it takes inside.

    torch keeps graphs by code, and takes another object's where it sees no difference; hooks of modules are none to it.
    So the code is a copy.

    Raises: ValueError if this version of torch cannot follow torch.autograd.grad into a graph.
    """
    from torch._dynamo import config  # seconds, and seldom needed

    if not hasattr(config, "trace_autograd_ops"):
        raise ValueError(
            f"compile_updates needs a version of torch that compiles torch.autograd.grad, got {torch.__version__}"
        )
    from diffsim.trainers.value_gradient.onednn import OneDNNProducts

    options: dict[str, Any] = {}
    if torch.backends.mkldnn.is_available():
        options["post_grad_custom_post_pass"] = OneDNNProducts()
    whole = torch.compile(with_own_code(function), fullgraph=True, options=options)

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        with config.patch(trace_autograd_ops=True):
            return whole(*args, **kwargs)

    return call


def with_own_code(function: Callable[P, R]) -> Callable[P, R]:
    """`function`, or a method of the same object, whose code is equal, and not the same."""
    if isinstance(function, MethodType):
        return MethodType(with_own_code(function.__func__), function.__self__)
    assert isinstance(function, FunctionType)
    code, name = function.__code__.replace(), function.__name__
    copied = FunctionType(code, function.__globals__, name, function.__defaults__, function.__closure__)
    copied.__kwdefaults__ = function.__kwdefaults__
    return copied


def require_compiler(device: torch.device) -> None:
    """Compiles something small for `device`.

    Raises: UsageError if torch cannot.
    """
    try:
        torch.compile(torch.sin)(torch.zeros(2, device=device))
    except Exception as error:
        reason = str(error).strip().splitlines()
        message = f"compile_updates must be false, since torch cannot compile here: {' '.join(reason[:2])}"
        raise UsageError(message) from error


def mean_metrics(rows: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Mean of each metric over the `rows` that have it.

    Raises: NonFiniteError if one is not finite.
    """
    names = dict.fromkeys(name for row in rows for name in row)
    means = {name: torch.stack([row[name] for row in rows if name in row]).mean() for name in names}
    for name, mean in means.items():
        if not mean.isfinite():
            raise NonFiniteError(f"{name} must be finite, got {mean.item()}")
    return means
