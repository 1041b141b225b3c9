"""Maximum-likelihood fits of a policy to weighted samples."""

from __future__ import annotations

import torch
from torch import Tensor

from diffsim.policies import Sequences, StochasticPolicy
from diffsim.trainers.errors import NonFiniteError
from diffsim.trainers.maths.natural_step import flat, trainable

PROXIMITY = 1e-5


def weighted_regression(
    policy: StochasticPolicy, seen: Tensor | Sequences, raw: Tensor, weight: Tensor, iterations: int
) -> tuple[Tensor, Tensor]:
    """Maximises the weighted log likelihood of samples by L-BFGS with a line search, from the present parameters.

        max_theta sum_b w_b log pi_theta(x_b | o_b) / sum_b w_b - PROXIMITY / 2 |theta - theta_0|^2

    The small second term keeps parameters finite where the weights have a deterministic policy as their best fit.

    Args:
        policy: changed in place.
        seen: observations [B, O], or the sequences of a recurrent policy.
        raw: samples of its distribution, before squashing, [B, F]; [T, N, F] for sequences.
        weight: at least 0, not all zero, [B] or [T, N].
        iterations: of L-BFGS, at least 1.

    Returns: the mean log likelihood before and after.
    Raises: NonFiniteError if it is then not finite.
    """
    kept = weight > 0
    if isinstance(seen, Sequences):
        share = torch.where(kept, weight / weight.sum(), 0.0)
    else:
        seen, raw, share = seen[kept], raw[kept], weight[kept] / weight.sum()
    start = flat(trainable(policy)).detach()
    optimizer = torch.optim.LBFGS(
        trainable(policy), max_iter=iterations, history_size=10, line_search_fn="strong_wolfe"
    )

    def likelihood() -> Tensor:
        return (share * policy.distributions(seen).log_prob(raw)).sum()

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = 0.5 * PROXIMITY * (flat(trainable(policy)) - start).square().sum() - likelihood()
        value.backward()
        return value

    with torch.no_grad():
        before = likelihood()
    optimizer.step(closure)  # pyright: ignore[reportArgumentType]
    optimizer.zero_grad()
    with torch.no_grad():
        after = likelihood()
    if not after.isfinite():
        raise NonFiniteError(f"log likelihood of the fitted policy must be finite, got {float(after)}")
    return before, after
