"""The dual problem of relative entropy policy search."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor

from diffsim.checks import check_value

BISECTIONS = 200


class Reweighting(NamedTuple):
    """The solution of the dual problem.

    Attributes:
        weight: p, [K], with sum 1.
        eta: the temperature, in units of the values; 0 if only the best keep their weights.
        kl: KL(p || 1 / K), in nats.
    """

    weight: Tensor
    eta: Tensor
    kl: Tensor


def entropic_weights(value: Tensor, epsilon: float) -> Reweighting:
    """Weights of samples that maximise the weighted mean of a value within a bound on the relative entropy.

        max_p sum_k p_k x_k    subject to    sum_k p_k log(K p_k) <= epsilon,    sum_k p_k = 1
        p_k proportional to exp(x_k / eta)

    The derivative of the dual g(eta) = eta epsilon + eta log(1 / K sum_k exp(x_k / eta)) is epsilon - KL(p || 1 / K).
    KL falls with eta, so that its zero is found by bisection of log eta.

    Args:
        value: x, [K], float64.
        epsilon: in nats, above 0.

    Returns: weights, eta and the relative entropy. If all samples but the best have no weight and the bound is still
        not reached, eta is 0.
    Source: Peters, Mulling & Altun (2010), "Relative Entropy Policy Search", equations 3 to 6.
    """
    check_value("epsilon", epsilon, "finite and > 0")
    scaled = value - value.max()
    width = -float(scaled.min())
    best = (scaled == 0.0).to(value)
    if math.log(len(value) / float(best.sum())) <= epsilon or width == 0.0:
        weight = best / best.sum()
        return Reweighting(weight, value.new_zeros(()), relative_entropy(weight))
    low, high = math.log(width) - 40.0, math.log(width) + 40.0
    for _ in range(BISECTIONS):
        middle = 0.5 * (low + high)
        if float(relative_entropy(torch.softmax(scaled / math.exp(middle), 0))) > epsilon:
            low = middle
        else:
            high = middle
    weight = torch.softmax(scaled / math.exp(high), 0)
    return Reweighting(weight, value.new_tensor(math.exp(high)), relative_entropy(weight))


def minimise_dual(
    reward: Tensor,
    change: Tensor,
    epsilon: float,
    start: Tensor,
    iterations: int,
    penalty: float = 0.0,
) -> Tensor:
    """Minimises the dual of relative entropy policy search over its temperature and its potential, by L-BFGS-B.

        g(eta, v) = eta epsilon + eta log(1 / B sum_i exp(delta_i / eta)) + penalty / 2 |v|^2,
        delta_i = r_i + v' c_i

    It is convex in both. The penalty bounds it where no weights within the relative entropy satisfy sum_i p_i c_i = 0;
    that sum is then as small as the bound allows.

    Args:
        reward: r, [B], float64.
        change: c, the expected change of features in each step, [B, F], float64.
        epsilon: bound on the relative entropy, in nats, above 0.
        start: eta, above 0, and v: [1 + F].
        iterations: of L-BFGS-B, at least 1.
        penalty: at least 0.

    Returns: eta and v, [1 + F].
    Source: Peters, Mulling & Altun (2010), equation 9.
    """

    def dual(variables: np.ndarray) -> tuple[float, np.ndarray]:
        point = torch.tensor(variables, requires_grad=True)
        scaled = (reward + change @ point[1:]) / point[0]
        value = point[0] * (epsilon + torch.logsumexp(scaled, 0) - math.log(len(reward)))
        value = value + 0.5 * penalty * point[1:].square().sum()
        (slope,) = torch.autograd.grad(value, point)
        return float(value.detach()), slope.numpy()

    bounds = [(1e-6, None), *[(None, None)] * (len(start) - 1)]
    options = {"maxiter": iterations}
    return torch.tensor(minimize(dual, start.numpy(), jac=True, method="L-BFGS-B", bounds=bounds, options=options).x)


def relative_entropy(weight: Tensor) -> Tensor:
    """KL divergence of weights `weight` [K], with sum 1, from equal ones: sum_k p_k log(K p_k), in nats."""
    return torch.special.xlogy(weight, weight).sum() + math.log(len(weight))
