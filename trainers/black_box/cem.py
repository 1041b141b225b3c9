"""The cross-entropy method, with and without noise."""

from __future__ import annotations

import torch
from torch import Tensor

from diffsim.checks import require
from diffsim.trainers.black_box.candidates import Candidates
from diffsim.trainers.black_box.gaussian import GaussianSearch, weighted_mean, weighted_spread
from diffsim.trainers.black_box.shares import Answer
from diffsim.trainers.maths.counts import due
from diffsim.trainers.metrics import Metric
from diffsim.trainers.options import option


class CEM(GaussianSearch):
    """The cross-entropy method: fits the search distribution to the best members of each generation.

        elites = the P_e = elite_fraction * P members of highest return
        mean <- mean of elites,    variance <- variance of elites + Z_t

    Z_t is zero (plain), constant, or falls linearly to zero (the noisy method): extra_std^2, or
    extra_std^2 * max(1 - t / extra_decay, 0) in generation t. It keeps the variance from vanishing before the mean is
    good. Smoothing mixes old and new values: mean <- smoothing * new + (1 - smoothing) * old; and with
    `spread_smoothing` b and `smoothing_power` q, the variance is mixed with b - b (1 - 1 / t)^q, which falls over time.

    Source: Rubinstein (1999), "The cross-entropy method for combinatorial and continuous optimization"; Szita &
    Lorincz (2006), "Learning Tetris using the noisy cross-entropy method"; Kroese, Porotsky & Rubinstein (2006),
    "The cross-entropy method for continuous multi-extremal optimization", for the smoothing.
    """

    population: int = option(default=100)
    elite_fraction: float = option("part of the members that are kept.", "in (0, 1)", default=0.1)
    extra_std: float = option("z, whose square is added to the variances.", "finite and >= 0", default=0.0)
    extra_decay: int | None = option(
        "generations over which the added variance falls to zero; None for a constant one.", ">= 1", default=None
    )
    smoothing: float = option("part of the new mean in the next one.", "in (0, 1]", default=1.0)
    spread_smoothing: float = option("b, part of the new variance at the start.", "in (0, 1]", default=1.0)
    smoothing_power: float | None = option("q; None keeps b constant.", "> 0", default=None)

    def setup(self) -> None:
        """Counts the elites.

        Raises: ValueError if fewer than two are kept: their variance would be zero.
        """
        super().setup()
        self.num_elites = due(self.elite_fraction, self.population)
        require(
            self.num_elites >= 2,
            "elite_fraction",
            f"large enough to keep 2 of population = {self.population}",
            self.elite_fraction,
        )

    def tell(self, candidates: Candidates, returns: Tensor, answer: Answer) -> dict[str, Metric]:
        """Fits the distribution to the elites."""
        best = returns.argsort(descending=True, stable=True)[: self.num_elites]
        elites, weight = candidates.vectors()[best], returns.new_ones(self.num_elites)
        mean = weighted_mean(elites, weight)
        spread = weighted_spread(elites, weight, mean, full=self.full)
        kept = 1.0 if self.smoothing_power is None else 1.0 - (1.0 - 1.0 / self.generation) ** self.smoothing_power
        mean = torch.lerp(self.mean, mean, self.smoothing)
        spread = torch.lerp(self.spread, spread, self.spread_smoothing * kept)
        extra = torch.full_like(mean, self.extra_variance())
        self.set_distribution(mean, spread + (extra.diag() if self.full else extra))
        return {"std": self.std(), "elite_return": returns[best].mean()}

    def extra_variance(self) -> float:
        """Z of the generation that follows the present one."""
        left = 1.0 if self.extra_decay is None else max(1.0 - self.generation / self.extra_decay, 0.0)
        return self.extra_std**2 * left
