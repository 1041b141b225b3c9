"""Relative entropy policy search over parameters."""

from __future__ import annotations

from torch import Tensor

from diffsim.trainers.black_box.candidates import Candidates
from diffsim.trainers.black_box.gaussian import GaussianSearch, weighted_mean, weighted_spread
from diffsim.trainers.black_box.rwr import effective_members
from diffsim.trainers.black_box.shares import Answer
from diffsim.trainers.maths.relative_entropy import entropic_weights
from diffsim.trainers.metrics import Metric
from diffsim.trainers.options import option


class REPS(GaussianSearch):
    """Episodic relative entropy policy search: the largest return within a bound on the relative entropy.

        max_p sum_k p_k U_k    subject to    KL(p || 1 / P) = sum_k p_k log(P p_k) <= epsilon,    sum_k p_k = 1
        p_k proportional to exp(U_k / eta)
        eta minimises the dual g(eta) = eta epsilon + eta log(1 / P sum_k exp(U_k / eta))
        mean <- sum_k p_k theta_k,    covariance <- the unbiased weighted covariance about it

    p reweighs the members; the Gaussian is its maximum-likelihood fit. If so few members are best that even they alone
    stay within the bound, p is uniform over them.

    Source: Peters, Mulling & Altun (2010), "Relative Entropy Policy Search"; Deisenroth, Neumann & Peters (2013), "A
    Survey on Policy Search for Robotics", section 2.4.3.1, for the episodic form.
    """

    epsilon: float = option("bound on the relative entropy of a step, in nats.", "finite and > 0", default=1.0)
    min_std: float = option(default=0.05)

    def tell(self, candidates: Candidates, returns: Tensor, answer: Answer) -> dict[str, Metric]:
        """Fits the distribution to the reweighted members."""
        theta, (weight, eta, kl) = candidates.vectors(), entropic_weights(returns, self.epsilon)
        mean = weighted_mean(theta, weight)
        self.set_distribution(mean, weighted_spread(theta, weight, mean, full=self.full, unbiased=True))
        return {"std": self.std(), "eta": eta, "kl": kl, "effective_members": effective_members(weight)}
