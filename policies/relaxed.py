"""Discrete choices that gradients pass through, as functions of explicit noise: Gumbel-softmax and straight-through.

A choice among K is a one-hot vector, or, relaxed, a point of the simplex between the K corners. All functions here
take standard normal noise, one number per entry, as every policy does.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import one_hot


def gumbel(noise: Tensor) -> Tensor:
    """Turns standard normal `noise` into Gumbel noise by its distribution function: -log(-log Phi(z)), same shape."""
    return -torch.log(-torch.special.log_ndtr(noise))


def gumbel_softmax(log_probs: Tensor, noise: Tensor, temperature: float | Tensor) -> Tensor:
    """Draws a relaxed choice, a smooth function of the probabilities.

        y = softmax((log p + g) / temperature),    g_k = -log(-log Phi(z_k))

    The largest entry is k with probability p_k, whatever the temperature; as that goes to 0, y becomes one-hot. The
    gradient is exact for the expectation of a function of y, and biased for that of a choice.

    Args:
        log_probs: log probabilities, up to a constant, [..., K].
        noise: [..., K].
        temperature: above 0; small means little bias and much variance.

    Returns: [..., K], each above 0, with sum 1.
    Source: Jang, Gu & Poole (2017), "Categorical Reparameterization with Gumbel-Softmax"; Maddison, Mnih & Teh (2017),
    "The Concrete Distribution".
    """
    return torch.softmax((log_probs + gumbel(noise)) / temperature, dim=-1)


def straight_through_gumbel(log_probs: Tensor, noise: Tensor, temperature: float | Tensor) -> Tensor:
    """Draws a one-hot choice, with the gradient of the relaxed one that the same noise gives.

    Args:
        log_probs: log probabilities, up to a constant, [..., K].
        noise: [..., K].
        temperature: of the relaxed choice, above 0.

    Returns: [..., K], one of them 1.
    Source: Jang, Gu & Poole (2017), section 2.2.
    """
    relaxed = gumbel_softmax(log_probs, noise, temperature)
    return with_gradient_of(relaxed, corner(relaxed))


def straight_through(log_probs: Tensor, noise: Tensor) -> Tensor:
    """Draws a one-hot choice, with the gradient of the probabilities: exact where a linear function is expected.

    Args:
        log_probs: normalised log probabilities, [..., K].
        noise: [..., K].

    Returns: [..., K], one of them 1.
    Source: Bengio, Léonard & Courville (2013), "Estimating or Propagating Gradients Through Stochastic Neurons".
    """
    return with_gradient_of(log_probs.exp(), corner(log_probs + gumbel(noise)))


def straight_through_bernoulli(logits: Tensor, noise: Tensor) -> Tensor:
    """Draws bits, with the gradient of their probabilities.

        b = 1 where Phi(z) < sigmoid(logit), else 0;    db / dlogit := d sigmoid / dlogit

    Args:
        logits: log odds of a 1, [..., B].
        noise: [..., B].

    Returns: zeros and ones, [..., B].
    Source: Bengio, Léonard & Courville (2013).
    """
    probs = logits.sigmoid()
    return with_gradient_of(probs, (torch.special.ndtr(noise) < probs).to(probs))


def with_gradient_of(soft: Tensor, hard: Tensor) -> Tensor:
    """The numbers of `hard`, exactly, and the gradient of `soft`; both of one shape."""
    return hard.detach() + (soft - soft.detach())


def corner(scores: Tensor) -> Tensor:
    """The one-hot vector of the largest of `scores` [..., K]."""
    return one_hot(scores.argmax(-1), scores.shape[-1]).to(scores)
