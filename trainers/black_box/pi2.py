"""Policy improvement with path integrals."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from diffsim.checks import require
from diffsim.policies import FeaturePolicy
from diffsim.trainers.black_box.candidates import Candidates
from diffsim.trainers.black_box.gaussian import GaussianSearch, weighted_spread
from diffsim.trainers.black_box.rwr import effective_members
from diffsim.trainers.black_box.shares import Answer
from diffsim.trainers.metrics import Metric
from diffsim.trainers.options import option


class PI2(GaussianSearch):
    """Policy improvement with path integrals: averages the perturbations, weighted by exp(-h S) of their costs S.

    In the black-box form (`form="episode"`), S is minus the return of the whole episode:

        P_k = softmax_k(-h (S_k - S_min) / (S_max - S_min)),    mean <- mean + sum_k P_k eps_k

    In the form of the derivation (`form="time_step"`), for policies linear in features g, S_tk is the cost from step t
    to the end of roll-out k, and the perturbation is projected onto the features that act at that step:

        P_tk = softmax_k(-h (S_tk - min_k S_tk) / (max_k S_tk - min_k S_tk))
        d_t = sum_k P_tk M_tk eps_k,    M = g g' / (g' g)
        mean_j <- mean_j + sum_t (T - t) b_tj d_tj / sum_t (T - t) b_tj,    b_tj = sum_k P_tk |g_tkj|

    M and b are those of each row of W. The control cost R of the derivation is the identity.

    `adaptation` mixes the probability-weighted covariance of the perturbations into the covariance (PI2-CMA); `decay`
    shrinks the standard deviation after every generation.

    Source: Theodorou, Buchli & Schaal (2010), "A generalized path integral control approach to RL", table 1; Stulp &
    Sigaud (2012), "Path integral policy improvement with covariance matrix adaptation", and "Policy improvement
    methods: between black-box optimization and episodic RL", for the black-box form. There features are functions of
    time; here they may depend on the roll-out's observations, and the activation b is weighted by P.
    """

    population: int = option(default=32)
    form: Literal["episode", "time_step"] = option("which of the two, see above.", default="episode")
    h: float = option("h, sensitivity of the weights.", "> 0", default=10.0)
    adaptation: float = option("part of the new covariance in the next one; 0 keeps it.", "in [0, 1]", default=0.0)
    decay: float = option("factor on the standard deviation per generation.", "in (0, 1]", default=0.98)
    min_std: float = option(default=0.05)

    def setup(self) -> None:
        """Chooses what is recorded.

        Raises: ValueError if the policy is not linear in features, or has several episodes per member, for the form
        "time_step".
        """
        self.record = self.form == "time_step"
        if self.record:
            name = type(self.policy).__name__
            require(isinstance(self.policy, FeaturePolicy), "policy", "linear in features, for time_step", name)
            require(self.episodes == 1, "episodes", "1 for time_step", self.episodes)
        super().setup()

    def tell(self, candidates: Candidates, returns: Tensor, answer: Answer) -> dict[str, Metric]:
        """Moves the mean by the weighted perturbations, and adapts the covariance."""
        eps, probability = candidates.vectors() - self.mean, path_probabilities(-returns, self.h)
        spread = weighted_spread(eps, probability, torch.zeros_like(self.mean), full=self.full)
        spread = torch.lerp(self.spread, spread, self.adaptation) * self.decay**2
        step = self.step_by_time(eps, answer) if self.record else probability @ eps
        self.set_distribution(self.mean + step, spread)
        return {"std": self.std(), "effective_members": effective_members(probability)}

    def step_by_time(self, eps: Tensor, answer: Answer) -> Tensor:
        """The change of the mean by the form "time_step", for perturbations `eps` [P, D]: [D]."""
        assert answer.steps is not None and isinstance(self.policy, FeaturePolicy)
        obs = answer.steps.obs.to(self.policy.weight)
        with torch.no_grad():
            features = self.policy.basis(obs).double().cpu()
        weight = torch.arange(len(obs))[:, None] < answer.lengths[:, 0]
        cost = -answer.steps.reward.double()
        to_go = cost.flip(0).cumsum(0).flip(0)
        shaped = eps.view(len(eps), *self.policy.weight.shape)
        return path_integral_step(to_go, features * weight[:, :, None], shaped, self.h).flatten()


def path_probabilities(cost: Tensor, h: float) -> Tensor:
    """exp(-h S) of costs scaled to [0, 1] over roll-outs, normalised; equal probabilities where all costs are equal.

    Args:
        cost: S, [..., K].
        h: above 0.

    Returns: [..., K], with sum 1.
    Source: Theodorou et al. (2010), section 3.2.
    """
    least, most = cost.amin(-1, keepdim=True), cost.amax(-1, keepdim=True)
    width = torch.where(most > least, most - least, 1.0)
    return torch.softmax(-h * (cost - least) / width, -1)


def path_integral_step(to_go: Tensor, features: Tensor, eps: Tensor, h: float) -> Tensor:
    """The parameter update of PI2, averaged over time.

    Args:
        to_go: cost from each step to the end of the roll-out, [T, K].
        features: g, zero after the end of the roll-out, [T, K, F].
        eps: perturbations, [K, X, F]: one for each of X outputs that are linear in the features.
        h: above 0.

    Returns: [X, F].
    Source: Theodorou et al. (2010), table 1.
    """
    probability = path_probabilities(to_go, h)
    square = features.square().sum(-1).clamp_min(torch.finfo(features.dtype).tiny)
    along = torch.einsum("tkf,kxf->tkx", features, eps) / square[:, :, None]
    step = torch.einsum("tk,tkx,tkf->txf", probability, along, features)
    left = torch.arange(len(to_go), 0, -1, dtype=to_go.dtype)
    active = left[:, None] * torch.einsum("tk,tkf->tf", probability, features.abs())
    total = active.sum(0)
    return torch.einsum("tf,txf->xf", active, step) / torch.where(total > 0, total, 1.0)
