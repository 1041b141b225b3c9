"""Natural-gradient steps: Fisher-vector products, conjugate gradient, and the line search of TRPO."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from diffsim.policies import Sequences, StochasticPolicy
from diffsim.trainers.errors import NonFiniteError
from diffsim.trainers.experience.on_policy_batch import OnPolicyBatch
from diffsim.trainers.maths.estimators import surrogate_objective
from diffsim.trainers.metrics import check_late

Product = Callable[[Tensor], Tensor]


def flat(tensors: Iterable[Tensor]) -> Tensor:
    """Flattens tensors, and concatenates them: [D]."""
    return torch.cat([tensor.reshape(-1) for tensor in tensors])


def trainable(policy: nn.Module) -> list[nn.Parameter]:
    """The parameters that require a gradient, D numbers in all."""
    return [parameter for parameter in policy.parameters() if parameter.requires_grad]


def surrogate(policy: StochasticPolicy, batch: OnPolicyBatch) -> Tensor:
    """Mean over all steps of p / p_old * A, differentiable with respect to the policy's parameters.

    Source: Schulman et al. (2015), TRPO, equation 14.
    """
    log_prob = policy.distributions(batch.seen).log_prob(batch.raw)
    return surrogate_objective(log_prob[None], batch.log_prob[None], batch.advantage[None]).mean()


def surrogate_gradient(policy: StochasticPolicy, batch: OnPolicyBatch) -> Tensor:
    """Gradient of the surrogate, [D]. It is the policy gradient if the policy is the one that acted.

    Raises: NonFiniteError if it is not finite.
    """
    gradient = flat(torch.autograd.grad(surrogate(policy, batch), trainable(policy)))
    check_late(~gradient.isfinite().all(), partial(_refuse, gradient))
    return gradient


def _refuse(gradient: Tensor) -> None:
    """Raises the error of a gradient that is not finite."""
    raise NonFiniteError(f"gradient must be finite, got norm {gradient.norm().item()}")


def fisher_vector_product(policy: StochasticPolicy, seen: Tensor | Sequences, damping: float = 0.0) -> Product:
    """Multiplies vectors by the Fisher information of the policy's distribution, without forming the matrix.

        F = mean_n E[score score'] = d^2/dtheta^2 mean_n KL(p_old(. | o_n) || p(. | o_n)) at theta_old
        v -> F v + damping * v

    The divergence is differentiated twice. Its graph is built once, for all products.

    Args:
        policy: at theta_old.
        seen: observations [B, O], or the sequences of a recurrent policy, whose divergences are those of every step
            given the observations and actions before it.
        damping: added to F's diagonal, at least 0.

    Returns: a function from [D] to [D], in the order of the policy's trained parameters.
    Source: Pearlmutter (1994), "Fast exact multiplication by the Hessian"; Schulman et al. (2015), TRPO, appendix C.
    """
    parameters = trainable(policy)
    current = policy.distributions(seen)
    divergence = current.detach().kl(current).mean()
    gradient = flat(torch.autograd.grad(divergence, parameters, create_graph=True, materialize_grads=True))

    def product(vector: Tensor) -> Tensor:
        hessian_vector = torch.autograd.grad(gradient @ vector, parameters, retain_graph=True, materialize_grads=True)
        return flat(hessian_vector) + damping * vector

    return product


def conjugate_gradient(product: Product, target: Tensor, iterations: int, tolerance: float = 1e-10) -> Tensor:
    """Solves F x = target for positive semi-definite F, by products of F with vectors.

    It stops before a direction along which F is zero up to rounding: x is then the solution so far.

    Args:
        product: x -> F x.
        target: [D].
        iterations: largest number of products, at least 1. D products solve exactly, up to rounding.
        tolerance: stops when the squared residual is below this fraction of the squared target.

    Returns: x, [D].
    Source: Hestenes & Stiefel (1952); Nocedal & Wright (2006), algorithm 5.2.
    """
    x, residual = torch.zeros_like(target), target.clone()
    direction, squared = residual, residual @ residual
    threshold, largest = tolerance * squared, torch.zeros_like(squared)
    for _ in range(iterations):
        going = squared > threshold
        if not (going.is_cuda or going):  # to ask a GPU costs more than the other products
            break
        product_direction = product(direction)
        curvature = direction @ product_direction
        largest = torch.maximum(largest, curvature / (direction @ direction))
        going = going & (curvature > torch.finfo(x.dtype).eps * largest * (direction @ direction))
        if not (going.is_cuda or going):
            break
        length = squared / curvature
        x = torch.where(going, x + length * direction, x)
        residual = residual - length * product_direction
        before, squared = squared, torch.where(going, residual @ residual, squared)
        direction = residual + squared / before * direction
    return x


def natural_direction(
    policy: StochasticPolicy, batch: OnPolicyBatch, damping: float, iterations: int
) -> tuple[Tensor, Tensor, Tensor]:
    """The natural gradient x of the surrogate: F x = g by conjugate gradient.

    Args:
        policy: with the parameters that sampled the batch.
        batch: steps [B], or sequences.
        damping: added to F's diagonal, at least 0.
        iterations: of conjugate gradient.

    Returns: g, x and F x, each [D].
    Raises: NonFiniteError if g is not finite, or F is not, or F g is 0 and g is not: a step along g changes no
    distribution, and has no length.
    """
    gradient = surrogate_gradient(policy, batch)
    product = fisher_vector_product(policy, batch.seen, damping)
    direction = conjugate_gradient(product, gradient, iterations)
    fisher_direction = product(direction)
    curvature = direction @ fisher_direction
    check_late((gradient @ gradient > 0) & ~(curvature > 0), partial(_refuse_curvature, curvature))
    return gradient, direction, fisher_direction


def _refuse_curvature(curvature: Tensor) -> None:
    """Raises the error of a Fisher information without curvature along the gradient."""
    raise NonFiniteError(
        "the Fisher information must be finite, and positive along the gradient; "
        f"set damping above 0, got curvature {curvature.item()}"
    )


def trust_region_step(direction: Tensor, fisher_direction: Tensor, max_kl: float) -> Tensor:
    """Scales a direction so that the KL divergence of the step is `max_kl`, to second order: s' F s / 2 = max_kl.

    Args:
        direction: x, [D], with x' F x > 0.
        fisher_direction: F x, [D].
        max_kl: in nats, above 0.

    Returns: s = sqrt(2 max_kl / x' F x) x, [D]; zero if x is zero.
    """
    curvature = direction @ fisher_direction
    return torch.where(curvature > 0, direction * torch.sqrt(2.0 * max_kl / curvature), 0.0)


@torch.no_grad()
def move(parameters: Sequence[Tensor], start: Tensor, step: Tensor) -> None:
    """Sets the parameters to `start` + `step`, vectors [D]."""
    parts = (start + step).split([parameter.numel() for parameter in parameters])
    for parameter, part in zip(parameters, parts, strict=True):
        parameter.copy_(part.view_as(parameter))


@torch.no_grad()
def line_search(
    policy: StochasticPolicy, batch: OnPolicyBatch, step: Tensor, *, max_kl: float, backtracks: int, shrink: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Takes the longest of step, shrink * step, shrink^2 * step, ... that raises the surrogate within the trust region.

    Without such a step the policy stays as it is. A GPU tries all of them, because to ask it which is the first would
    wait for it.

    Args:
        policy: at theta_old, which sampled the batch.
        batch: steps [B], or sequences.
        step: [D].
        max_kl: largest mean divergence from the old policy.
        backtracks: number of lengths to try, at least 1.
        shrink: in (0, 1).

    Returns: the fraction of the step that was taken, or 0; the increase of the surrogate; and the mean KL divergence.
    Source: Schulman et al. (2015), TRPO, appendix C.
    """
    parameters = trainable(policy)
    start, before = flat(parameters), surrogate(policy, batch)
    old = policy.distributions(batch.seen)
    taken, gain, kl = torch.zeros_like(before, dtype=torch.float64), torch.zeros_like(before), torch.zeros_like(before)
    for k in range(backtracks):
        move(parameters, start, shrink**k * step)
        rise = surrogate(policy, batch) - before
        divergence = old.kl(policy.distributions(batch.seen)).mean()
        first = (taken == 0) & (rise > 0) & (divergence <= max_kl)
        taken, gain, kl = (
            torch.where(first, new, found) for new, found in ((shrink**k, taken), (rise, gain), (divergence, kl))
        )
        if not first.is_cuda and first:
            break
    move(parameters, start, torch.where(taken > 0, taken * step, 0.0))
    return taken, gain, kl
