"""The (mu, lambda) evolution strategy."""

from __future__ import annotations

import torch
from torch import Tensor

from diffsim.checks import require
from diffsim.trainers.black_box.candidates import Candidates, Vectors
from diffsim.trainers.black_box.search import PopulationSearch
from diffsim.trainers.black_box.shares import Answer
from diffsim.trainers.metrics import Metric
from diffsim.trainers.options import buffer, option


class MuLambdaES(PopulationSearch):
    """The (mu, lambda) evolution strategy with self-adaptation: the best mu of lambda offspring are the next parents.

        parent (theta, sigma):  one of the mu at random, or with recombination their mean and geometric mean
        sigma_k = sigma exp(tau xi_k),    theta_k = theta + sigma_k eps_k
        xi_k, eps_k ~ N(0, I),    tau = 1 / sqrt(2 D)

    Lambda is the population. Parents do not survive. Selection adapts the step sizes, because an offspring keeps the
    sigma that made it. The policy has the best parent's parameters, or their mean with recombination.

    Source: Schwefel (1981), "Numerical Optimization of Computer Models"; Beyer & Schwefel (2002), "Evolution
    strategies: a comprehensive introduction", section 4.2, for self-adaptation.
    """

    population: int = option("lambda, members of a generation.", ">= 2", default=64)
    mu: int = option("parents, less than the population.", ">= 1", default=16)
    init_std: float = option("sigma at the start.", "finite and > 0", default=0.5)
    recombination: bool = option("offspring come from the mean of all parents.", default=True)
    adapt: bool = option("adapt the step sizes; otherwise sigma stays as it is.", default=True)

    host_buffers = ("parents", "log_sigma")
    parents: Tensor = buffer()
    log_sigma: Tensor = buffer()

    def setup(self) -> None:
        """Makes the parents, all equal to the policy.

        Raises: ValueError if all offspring would survive.
        """
        require(self.mu < self.population, "mu", f"< population = {self.population}", self.mu)
        super().setup()
        self.tau = (2.0 * self.size) ** -0.5 if self.adapt else 0.0
        self.register_buffer("parents", self.vector().repeat(self.mu, 1))
        self.register_buffer("log_sigma", torch.full((self.mu,), self.init_std, dtype=torch.float64).log())
        self.offspring_log_sigma = torch.zeros(0)

    def ask(self) -> Candidates:
        """Draws the offspring."""
        shape = (self.population,)
        chosen = torch.randint(self.mu, shape, generator=self.generator, device=self.device).cpu()
        theta, log_sigma = self.parents[chosen], self.log_sigma[chosen]
        if self.recombination:
            theta, log_sigma = self.parents.mean(0), self.log_sigma.mean()
        self.offspring_log_sigma = log_sigma + self.tau * self.randn(self.population)
        return Vectors(theta + self.offspring_log_sigma.exp()[:, None] * self.randn(self.population, self.size))

    def tell(self, candidates: Candidates, returns: Tensor, answer: Answer) -> dict[str, Metric]:
        """Keeps the best offspring as parents."""
        best = returns.argsort(descending=True, stable=True)[: self.mu]
        self.parents.copy_(candidates.vectors()[best])
        self.log_sigma.copy_(self.offspring_log_sigma[best])
        self.set_policy(self.parents.mean(0) if self.recombination else self.parents[0])
        return {"sigma": self.log_sigma.mean().exp()}
