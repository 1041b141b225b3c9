"""Relative entropy policy search on the state and action pairs of single steps."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from diffsim.engine.checks import read_numbers
from diffsim.policies import Sequences, StochasticPolicy
from diffsim.trainers.black_box.host_buffers import HostBuffers
from diffsim.trainers.experience.rollout import Trajectory
from diffsim.trainers.likelihood_ratio.on_policy import POLICY_DEFAULTS
from diffsim.trainers.maths.relative_entropy import Reweighting, entropic_weights, minimise_dual
from diffsim.trainers.maths.weighted_regression import weighted_regression
from diffsim.trainers.metrics import Metric
from diffsim.trainers.model_free import ModelFree
from diffsim.trainers.options import buffer, option


class StepREPS(HostBuffers, ModelFree):
    """Relative entropy policy search on steps: reweighs the observed steps within a bound on the relative entropy.

        max_p sum_i p_i r_i    subject to    KL(p || 1 / B) <= epsilon,    sum_i p_i c_i = 0
        c_i = gamma phi(o'_i) + (1 - gamma) phi_0 - phi(o_i),    delta_i = r_i + v' c_i
        p_i proportional to exp(delta_i / eta),    where eta and v minimise the dual
        theta <- argmax_theta sum_i p_i log pi_theta(u_i | o_i)

    The second constraint makes p the distribution of steps of some policy, in a process that starts again with
    probability 1 - gamma in each step; phi_0 is the mean of phi over starts. A terminal state is one without features
    and rewards, where the process stays until it starts again: gamma / (1 - gamma) such steps are added for each
    termination. V(o) = v' phi(o) is then the value, up to a constant. phi(o) has 1, the numbers of o, clipped to
    [-10, 10], and their products.

    `REPS` searches parameters instead, with one weight per episode.

    Source: Peters, Mulling & Altun (2010), "Relative Entropy Policy Search"; van Hoof, Neumann & Peters (2017),
    "Non-parametric policy search with limited information loss", for the discount; epsilon, the first eta and the
    optimizer are those of Duan et al. (2016), "Benchmarking Deep Reinforcement Learning for Continuous Control". They
    have no discount, and features of time; the constraint then excludes every end of an episode.
    """

    family = "gradient-free"
    run_defaults: ClassVar[dict[str, Any]] = {"num_envs": 8, **POLICY_DEFAULTS}
    takes_recurrent = True

    horizon: int = option("H, steps of each copy per iteration.", ">= 1", default=512)
    gamma: float = option("discount.", "in (0, 1)", default=0.99)
    epsilon: float = option("bound on the relative entropy of a step, in nats.", "finite and > 0", default=0.5)
    regression_iterations: int = option("of L-BFGS, for each fit of the policy.", ">= 1", default=50)
    dual_iterations: int = option("of L-BFGS-B, for the dual.", ">= 1", default=200)
    penalty: float = option("of |v|^2 / 2, in the dual.", ">= 0", default=1e-6)

    host_buffers = ("dual", "start_features", "at_start")
    dual: Tensor = buffer()
    start_features: Tensor = buffer()
    at_start: Tensor = buffer()

    def setup(self) -> None:
        """Makes the dual variables.

        Raises: TypeError if the policy is deterministic; ValueError if observations are images.
        """
        policy = self.policy
        if not isinstance(policy, StochasticPolicy):
            raise TypeError(f"policy must be a stochastic one, such as GaussianMLP, got {type(policy).__name__}")
        if policy.encoder is not None:
            raise ValueError("observations must be vectors for StepREPS, got images")
        super().setup()
        self.actor, size = policy, (policy.obs_size + 1) * (policy.obs_size + 2) // 2
        self.register_buffer("dual", torch.tensor([15.0, *[0.0] * size], dtype=torch.float64))
        self.register_buffer("start_features", torch.zeros(size, dtype=torch.float64))
        self.register_buffer("at_start", torch.ones(self.env.num_envs, dtype=torch.bool))

    def iteration_size(self) -> int:
        """Env steps of an iteration: a window in every copy."""
        return self.horizon * self.env.num_envs

    def iterate(self) -> dict[str, Metric]:
        """Collects a window, solves the dual problem, and fits the policy to the reweighted steps."""
        memory = self.memory
        trajectory, raw = self.sample(self.actor, self.horizon)
        solution = self.reweigh(trajectory)
        weight = solution.weight[: trajectory.reward.numel()].to(trajectory.obs).view_as(trajectory.reward)
        if self.actor.recurrent:
            seen = Sequences(trajectory.obs, raw, trajectory.starts, memory)
        else:
            seen, raw, weight = (part.flatten(0, 1) for part in (trajectory.obs, raw, weight))
        before, after = weighted_regression(self.actor, seen, raw, weight, self.regression_iterations)
        self.update_normalizer(trajectory.obs)
        metrics = {"eta": solution.eta, "kl": solution.kl, "log_likelihood": after, "likelihood_gain": after - before}
        return {**self.episode_metrics(), **metrics}

    def reweigh(self, trajectory: Trajectory) -> Reweighting:
        """Weights of the steps of a window [H N], and of the added terminal ones. Keeps the dual variables."""
        reward, change = self.transitions(trajectory)
        self.dual.copy_(minimise_dual(reward, change, self.epsilon, self.dual, self.dual_iterations, self.penalty))
        return entropic_weights(reward + change @ self.dual[1:], self.epsilon)

    def transitions(self, trajectory: Trajectory) -> tuple[Tensor, Tensor]:
        """Rewards [B] and expected changes of features [B, F] of a window's steps, and then of terminal ones."""
        seen = (trajectory.obs, trajectory.reward, trajectory.next_obs, trajectory.terminated, trajectory.ended)
        obs, reward, next_obs, terminated, ended = map(torch.as_tensor, read_numbers(seen))  # waits for a GPU once
        starts = torch.cat([self.at_start[None], ended > 0])
        self.at_start.copy_(starts[-1])
        if starts[:-1].any():
            self.start_features.copy_(step_features(obs[starts[:-1]]).mean(0))
        restart = (1.0 - self.gamma) * self.start_features
        alive = (1.0 - terminated)[..., None]
        change = self.gamma * step_features(next_obs) * alive + restart - step_features(obs)
        waiting = round(int(terminated.sum()) * self.gamma / (1.0 - self.gamma))
        change = torch.cat([change.flatten(0, 1), restart.expand(waiting, -1)])
        return torch.cat([reward.flatten(), reward.new_zeros(waiting)]), change


def step_features(obs: Tensor) -> Tensor:
    """Products of all pairs of [1, o] of observations [..., O]: float64, [..., (O + 1) (O + 2) / 2]."""
    one = torch.ones_like(obs[..., :1], dtype=torch.float64)
    factors = torch.cat([one, obs.double().clamp(-10.0, 10.0)], -1)
    first, second = torch.triu_indices(factors.shape[-1], factors.shape[-1])
    return factors[..., first] * factors[..., second]
