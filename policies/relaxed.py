"""Reparameterised discrete choices: Gumbel-softmax and straight-through estimators.

A choice among K is a one-hot vector; a relaxed choice is a point of the simplex. All functions here take standard
normal noise, one number per entry, as every policy does.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import one_hot


def gumbel(noise: Tensor) -> Tensor:
    """Maps standard normal `noise` to Gumbel noise of the same shape: -log(-log Phi(z))."""
    return -torch.log(-torch.special.log_ndtr(noise))


def gumbel_softmax(log_probs: Tensor, noise: Tensor, temperature: float | Tensor) -> Tensor:
    """Samples a relaxed choice, a smooth function of the probabilities.

        y = softmax((log p + g) / temperature),    g_k = -log(-log Phi(z_k))

    The largest entry is k with probability p_k at every temperature, and y becomes one-hot as the temperature falls.
    The gradient is unbiased for the expectation of a function of y, and biased for that over one-hot choices.

    Args:
        log_probs: log probabilities, up to a constant, [..., K].
        noise: [..., K].
        temperature: above 0; a small one has little bias and much variance.

    Returns: [..., K], positive, with sum 1.
    Source: Jang, Gu & Poole (2017), "Categorical Reparameterization with Gumbel-Softmax"; Maddison, Mnih & Teh (2017),
    "The Concrete Distribution".
    """
    return torch.softmax((log_probs + gumbel(noise)) / temperature, dim=-1)


def straight_through_gumbel(log_probs: Tensor, noise: Tensor, temperature: float | Tensor) -> Tensor:
    """Samples a one-hot choice [..., K]; its gradient is that of `gumbel_softmax` for the same arguments.

    Source: Jang, Gu & Poole (2017), section 2.2.
    """
    relaxed = gumbel_softmax(log_probs, noise, temperature)
    return with_gradient_of(relaxed, one_hot_argmax(relaxed))


def straight_through(log_probs: Tensor, noise: Tensor) -> Tensor:
    """Samples a one-hot choice [..., K]; its gradient is that of the probabilities, unbiased for linear objectives.

    `log_probs` [..., K] are normalised.

    Source: Bengio, Léonard & Courville (2013), "Estimating or Propagating Gradients Through Stochastic Neurons".
    """
    return with_gradient_of(log_probs.exp(), one_hot_argmax(log_probs + gumbel(noise)))


def straight_through_bernoulli(logits: Tensor, noise: Tensor) -> Tensor:
    """Samples bits [..., B] from log odds [..., B]; their gradient is that of their probabilities.

        b = 1 where Phi(z) < sigmoid(logit), else 0;    db / dlogit := d sigmoid / dlogit

    Source: Bengio, Léonard & Courville (2013).
    """
    probs = logits.sigmoid()
    return with_gradient_of(probs, (torch.special.ndtr(noise) < probs).to(probs))


def with_gradient_of(soft: Tensor, hard: Tensor) -> Tensor:
    """The value of `hard`, exactly, with the gradient of `soft`; both have the same shape."""
    return hard.detach() + (soft - soft.detach())


def one_hot_argmax(scores: Tensor) -> Tensor:
    """One-hot vector of the largest of `scores` [..., K]."""
    return one_hot(scores.argmax(-1), scores.shape[-1]).to(scores)
