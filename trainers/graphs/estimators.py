"""Choices for each stochastic node: what gives the gradient through it."""

from __future__ import annotations

from dataclasses import dataclass

from diffsim.checks import check_value
from diffsim.trainers.graphs.baselines import Baseline, ControlVariate


class Estimator:
    """What gives the gradient through a stochastic node."""


@dataclass(frozen=True)
class Reparameterised(Estimator):
    """The choice is a differentiable function of its distribution's parameters and of noise.

    Unbiased where the costs are continuous. All derivatives are right.
    """


@dataclass(frozen=True)
class ScoreFunction(Estimator):
    """The likelihood ratio: the log probability of the choice, times the costs that depend on it.

    Unbiased for any distribution and cost. All derivatives are right, by the magic box exp(log p - [log p]), whose
    value is 1.

    Args:
        baseline: number subtracted from these costs: it changes the variance, not the mean.
        control_variate: a function of relaxed choices, whose mean is known, that is subtracted.

    Source: Foerster et al. (2018), "DiCE: the infinitely differentiable Monte Carlo estimator"; for baselines of higher
    derivatives, Mao et al. (2019), "A baseline for any order gradient estimation in stochastic computation graphs".
    """

    baseline: Baseline | None = None
    control_variate: ControlVariate | None = None


@dataclass(frozen=True)
class StraightThrough(Estimator):
    """A discrete choice with the gradient of its probabilities. Biased unless the costs are linear in the choice.

    The distribution must be Bernoulli or OneHotCategorical.

    Source: Bengio, Léonard & Courville (2013), "Estimating or propagating gradients through stochastic neurons".
    """


@dataclass(frozen=True)
class GumbelSoftmax(Estimator):
    """A relaxed discrete choice, between the values. Biased for the costs of discrete choices.

    The distribution must be Bernoulli or OneHotCategorical.

    Args:
        temperature: above 0; a small one has little bias and much variance.
        hard: make the choice discrete, with the gradient of the relaxed one.

    Source: Jang, Gu & Poole (2017), "Categorical reparameterization with Gumbel-softmax"; Maddison, Mnih & Teh (2017),
    "The concrete distribution".
    """

    temperature: float = 1.0
    hard: bool = False

    def __post_init__(self) -> None:
        check_value("temperature", self.temperature, "> 0")


@dataclass(frozen=True)
class MeasureValued(Estimator):
    """The difference of the costs after two choices, from the two parts of the distribution's derivative.

    The distribution must be Normal, with independent numbers, or Bernoulli. The costs that depend on the choice are
    computed twice for each of its parameters that needs a gradient. Unbiased; first derivatives only, and an error for
    others.

    Source: Pflug (1989), "Sampling derivatives of probability measures"; Mohamed et al. (2020), "Monte Carlo gradient
    estimation in machine learning", section 6.
    """


@dataclass(frozen=True)
class Enumerated(Estimator):
    """The sum over all values of a discrete choice, weighted by their probabilities.

    No variance from this choice; what follows it is computed once for each value. All derivatives are right.

    Args:
        most: largest number of values.
    """

    most: int = 64

    def __post_init__(self) -> None:
        check_value("most", self.most, ">= 1")
