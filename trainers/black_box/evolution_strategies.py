"""Evolution strategies as stochastic gradient ascent."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.optim import Adam, Optimizer

from diffsim.checks import require
from diffsim.trainers.black_box.ascent import AscentSearch
from diffsim.trainers.black_box.candidates import Candidates, Perturbations
from diffsim.trainers.black_box.shares import Answer
from diffsim.trainers.metrics import Metric
from diffsim.trainers.options import option


class EvolutionStrategies(AscentSearch):
    """Evolution strategies: Adam on an estimate of the gradient of the return, smoothed by a Gaussian.

        theta_k = theta + sigma sign_k eps_k,    eps_k ~ N(0, I)
        g = 1 / P sum_k rank_k sign_k eps_k,    rank_k in [-1/2, 1/2]
        theta <- Adam(theta, g - weight_decay theta)

    Members 2j and 2j + 1 are mirrored: they have the same eps and opposite signs. A worker is told the seed of each
    eps, never a perturbation. The centred ranks make the update independent of the scale of returns.

    Source: Salimans et al. (2017), "Evolution Strategies as a Scalable Alternative to RL", and its published code,
    whose step size, weight decay and ranks are the defaults; sigma is 0.02 there, for MLPs.
    """

    population: int = option("P, members of a generation.", ">= 2", default=64)
    sigma: float = option("standard deviation of the perturbations.", "finite and > 0", default=0.05)
    learning_rate: float = option(default=1e-2)
    weight_decay: float = option("of the parameters, as an L2 term of the gradient.", "finite and >= 0", default=0.005)
    mirrored: bool = option("draw the members in pairs theta + sigma eps, theta - sigma eps.", default=True)
    ranks: bool = option("centred ranks of the returns in place of returns divided by sigma.", default=True)

    def setup(self) -> None:
        """Checks that mirrored members are pairs."""
        odd = self.mirrored and self.population % 2 == 1
        require(not odd, "population", "even for mirrored members", self.population)
        super().setup()

    def make_optimizers(self) -> list[Optimizer]:
        """Adam."""
        return [Adam(self.trained, lr=self.learning_rate, weight_decay=self.weight_decay)]

    def ask(self) -> Candidates:
        """Perturbs the policy's parameters."""
        copies = 2 if self.mirrored else 1
        seeds = [seed for seed in self.random_seeds(self.population // copies) for _ in range(copies)]
        signs = [1.0, -1.0] * (self.population // 2) if self.mirrored else [1.0] * self.population
        return Perturbations(self.vector(), self.sigma, seeds, signs)

    def tell(self, candidates: Candidates, returns: Tensor, answer: Answer) -> dict[str, Metric]:
        """Estimates the gradient, and takes a step of Adam."""
        assert isinstance(candidates, Perturbations)
        value = centered_ranks(returns) if self.ranks else (returns - returns.mean()) / self.sigma
        gradient = torch.zeros(self.size, dtype=torch.float64)
        weight = value * torch.tensor(candidates.signs, dtype=torch.float64)
        step = 2 if self.mirrored else 1
        for k in range(0, self.population, step):
            gradient += weight[k : k + step].sum() * candidates.noise(k)
        return self.ascend(gradient / self.population)


def centered_ranks(value: Tensor) -> Tensor:
    """Ranks of numbers [K], scaled to [-1/2, 1/2]; equal numbers have the mean of their ranks.

    The mean rank of ties differs from the published code, which ranks them by their position.
    """
    ordered = value.sort().values
    low, high = torch.searchsorted(ordered, value), torch.searchsorted(ordered, value, right=True)
    rank = (low + high - 1).double() / 2
    return rank / (len(value) - 1) - 0.5
