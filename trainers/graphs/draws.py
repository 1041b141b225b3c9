"""Distributions as a graph needs them: drawn by explicit noise, relaxed, enumerated.

Takes `torch.distributions` and those of `diffsim.policies`, with one row per sample.
"""

from __future__ import annotations

import itertools
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Bernoulli, Categorical, Independent, MultivariateNormal, Normal, OneHotCategorical
from torch.distributions import Distribution as TorchDistribution
from torch.nn.functional import logsigmoid

from diffsim.checks import check_shape, require
from diffsim.policies.distributions import Categoricals, DiagonalGaussian, Distribution, Mixed
from diffsim.policies.relaxed import gumbel, gumbel_softmax, one_hot_argmax, with_gradient_of


class Noise:
    """Random numbers of one stochastic node, the same in every repetition.

    Args:
        name: of the node.
        seed: of the numbers that are drawn.
        given: standard normal numbers that draw the node, or None to draw them.
    """

    def __init__(self, name: str, seed: int, given: Tensor | None) -> None:
        self.name, self.seed, self.given = name, seed, given

    def normal(self, like: Tensor) -> Tensor:
        """Standard normal numbers that draw the node, of the shape of `like`.

        Raises: ValueError if the given ones have another shape.
        """
        if self.given is None:
            return torch.randn(like.shape, generator=self.generator(0, like), dtype=like.dtype, device=like.device)
        check_shape(f"noise of {self.name!r}", self.given, tuple(like.shape))
        return self.given

    def uniform(self, like: Tensor, use: int) -> Tensor:
        """Uniform numbers in (0, 1) for another `use`, of the shape of `like`."""
        drawn = torch.rand(like.shape, generator=self.generator(use, like), dtype=like.dtype, device=like.device)
        return drawn.clamp_min(torch.finfo(like.dtype).tiny)

    def generator(self, use: int, like: Tensor) -> torch.Generator:
        """A new generator for one use of the noise."""
        return torch.Generator(like.device).manual_seed(self.seed + use)


def draw(distribution: Any, noise: Noise) -> Tensor:
    """A choice, [N, ...], with its gradient if the distribution can be reparameterised."""
    if isinstance(distribution, Distribution):
        mode = distribution.mode
        return distribution.sample(
            noise.normal(mode if mode.is_floating_point() else mode.to(torch.get_default_dtype()))
        )
    if isinstance(distribution, Independent):
        return draw(distribution.base_dist, noise)
    if isinstance(distribution, Normal):
        return distribution.loc + distribution.scale * noise.normal(distribution.loc)
    if isinstance(distribution, MultivariateNormal):
        normal = noise.normal(distribution.loc).unsqueeze(-1)
        return distribution.loc + (distribution.scale_tril @ normal).squeeze(-1)
    if isinstance(distribution, Bernoulli | OneHotCategorical | Categorical):
        chosen = hard(distribution, relaxed(distribution, noise))
        return chosen.argmax(-1) if isinstance(distribution, Categorical) else chosen
    if noise.given is not None:
        kind = type(distribution).__name__
        raise ValueError(f"noise of {noise.name!r} must be None for {kind}, which is not drawn by normal numbers")
    with torch.random.fork_rng():
        torch.manual_seed(noise.seed)
        return distribution.rsample() if distribution.has_rsample else distribution.sample()


def can_reparameterise(distribution: Any) -> bool:
    """Whether `draw` has a gradient."""
    if isinstance(distribution, Distribution):
        return not isinstance(distribution, Categoricals | Mixed)
    return distribution.has_rsample


def log_prob(distribution: Any, value: Tensor) -> Tensor:
    """Log probability of a choice [N, ...], the sum of those of its numbers: [N]."""
    found = distribution.log_prob(value)
    return found if found.dim() == 1 else found.flatten(1).sum(1)


def independent(distribution: Any) -> Any:
    """A distribution without the wrapper that says which of its axes count as one event."""
    return independent(distribution.base_dist) if isinstance(distribution, Independent) else distribution


def relaxable(distribution: Any) -> bool:
    """Whether a discrete choice has a relaxation."""
    return isinstance(distribution, Bernoulli | OneHotCategorical)


def relaxed(distribution: Any, noise: Noise) -> Tensor:
    """The relaxed choice z, [N, ...]: logits plus logistic noise for Bernoulli, plus Gumbel noise for a category."""
    if isinstance(distribution, Bernoulli):
        normal = noise.normal(distribution.probs)
        return distribution.logits + torch.special.log_ndtr(-normal) - torch.special.log_ndtr(normal)
    return distribution.logits + gumbel(noise.normal(distribution.logits))


def hard(distribution: Any, z: Tensor) -> Tensor:
    """The choice of a relaxed one: bits that are 1 where z > 0, or the one-hot vector of the largest."""
    return (z > 0).to(z) if isinstance(distribution, Bernoulli) else one_hot_argmax(z)


def softened(distribution: Any, z: Tensor, temperature: float) -> Tensor:
    """A choice between the values: sigmoid(z / temperature) or softmax(z / temperature)."""
    z = z / temperature
    return z.sigmoid() if isinstance(distribution, Bernoulli) else z.softmax(-1)


def relaxed_given(distribution: Any, choice: Tensor, noise: Noise) -> Tensor:
    """The relaxed choice z~ drawn given the choice, differentiable in the distribution's parameters at fixed choice.

    Source: Tucker et al. (2017), appendix; Grathwohl et al. (2018), appendix B.
    """
    if isinstance(distribution, Bernoulli):
        p, log_p, log_q = distribution.probs, logsigmoid(distribution.logits), logsigmoid(-distribution.logits)
        v = noise.uniform(p, use=1)  # z = log(u / q) - log((1 - u) / p) with u = 1 - p (1 - v) or u = q v, q = 1 - p
        one = torch.log1p(-p * (1.0 - v)) - log_q - torch.log1p(-v)
        return torch.where(choice > 0, one, log_p + v.log() - torch.log1p(-v * (1.0 - p)))
    exponential = -noise.uniform(distribution.logits, use=1).log()  # -log v
    largest = (exponential * choice).sum(-1, keepdim=True)
    others = -torch.log(exponential / distribution.probs + largest)
    return torch.where(choice > 0, -largest.log(), others)


def soft_choice(distribution: Any, noise: Noise, temperature: float, *, discrete: bool) -> Tensor:
    """The choice of Gumbel-softmax, [N, ...]; if `discrete`, its value is that of the discrete choice."""
    if isinstance(distribution, Bernoulli):
        soft = softened(distribution, relaxed(distribution, noise), temperature)
    else:
        soft = gumbel_softmax(distribution.logits, noise.normal(distribution.logits), temperature)
    return with_gradient_of(soft, hard(distribution, relaxed(distribution, noise))) if discrete else soft


def straight_through_choice(distribution: Any, noise: Noise) -> Tensor:
    """The discrete choice with the gradient of its probabilities, [N, ...]."""
    return with_gradient_of(distribution.probs, draw(distribution, noise).detach())


def support(distribution: Any, name: str, most: int) -> list[Tensor]:
    """Every value of a discrete choice, [N, ...] each.

    Args:
        distribution: discrete.
        name: of its node, for errors.
        most: largest number of values.

    Raises: ValueError if the distribution is not discrete and finite, or has more values.
    """
    distribution = independent(distribution)
    if isinstance(distribution, Categoricals):
        counts = [part.shape[-1] for part in distribution.log_probs]
        require(
            torch.Size(counts).numel() <= most, f"values of {name!r}", f"at most {most}", torch.Size(counts).numel()
        )
        like = distribution.mode
        return [like.new_tensor(chosen).expand(like.shape) for chosen in itertools.product(*map(range, counts))]
    finite = isinstance(distribution, TorchDistribution) and distribution.has_enumerate_support
    if not finite or not isinstance(distribution, Bernoulli | Categorical | OneHotCategorical):
        raise ValueError(
            f"distribution of {name!r} must be discrete to be enumerated, got {type(distribution).__name__}"
        )
    values = distribution.enumerate_support(expand=False)  # [K, 1, ..., event]
    shape = distribution.batch_shape[1:]
    count = len(values) ** shape.numel()
    require(count <= most, f"values of {name!r}", f"at most {most}", count)
    values = values.reshape(len(values), *distribution.event_shape)
    return [
        values[torch.tensor(chosen).reshape(shape)].expand(distribution.batch_shape + distribution.event_shape)
        for chosen in itertools.product(range(len(values)), repeat=shape.numel())
    ]


def gaussian_parameters(distribution: Any) -> tuple[Tensor, Tensor] | None:
    """Mean and standard deviation of independent normal numbers, or None."""
    distribution = independent(distribution)
    if isinstance(distribution, DiagonalGaussian):
        return distribution.mean, distribution.std
    return (distribution.loc, distribution.scale) if isinstance(distribution, Normal) else None
