"""Stochastic value gradients: through a learned model, along real experience, whose noise is inferred."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import mse_loss
from torch.optim import Adam, Optimizer

from diffsim.mdp import Scenarios
from diffsim.models import LearnedMDP
from diffsim.policies import DiagonalGaussian, GaussianMLP, Policy, StochasticPolicy, ValueMLP
from diffsim.trainers.algorithm import Algorithm, Evaluator
from diffsim.trainers.experience.mdp_wrappers import MDPWrapper
from diffsim.trainers.experience.rollout import rollout
from diffsim.trainers.maths.polyak import polyak_update, target_network
from diffsim.trainers.ranges import at_least_one, positive, require, unit_interval


class Experience(NamedTuple):
    """Windows of real experience, and the noises with which model and policy do them again.

    Attributes:
        scenarios: initial states [N, S] and noises [H, N, ...].
        weight: [N], how much each window counts.
        valid: bool [H, N], which steps happened.
        last: bool [H, N], the last of them.
        terminated: bool [H, N].
    """

    scenarios: Scenarios
    weight: Tensor
    valid: Tensor
    last: Tensor
    terminated: Tensor


class Endless(MDPWrapper):
    """An MDP without ends: where experience ends is known."""

    def terminal(self, state: Tensor) -> Tensor:
        """Nowhere: bool [N]."""
        return torch.zeros(len(state), dtype=torch.bool, device=state.device)


class SVG(Algorithm):
    """Climbs the return of real windows by its gradient through a learned model.

        w_t = (o_{t+1} - m(o_t, u_t)) / s(o_t, u_t),   z_t = (x_t - mean(o_t)) / std(o_t)
        J(theta) = mean_n rho_n (sum_{t<k} gamma^t r_t + gamma^k V(o_k)),    o_{t+1} = m + s w_t,   u_t = pi(o_t, z_t)

    Given these noises the model and the present policy do exactly what was observed, so the model is differentiated
    where the environment was, and its errors do not build up. Windows start anywhere in the data; what ends is worth
    nothing after, what is cut short is worth its value.

    SVG(1) has k = 1 and importance weights, to learn from all experience there ever was; SVG(inf) has whole windows
    and no value.

    Args:
        mdp: a learned MDP, whose dynamics have noise. Its N copies are the batch.
        policy: what is trained, a `GaussianMLP`.
        horizon: k, steps per window; shorter where an episode ends.
        use_value: whether V stands for what comes after a window; otherwise nothing does.
        importance_weights: weigh windows by how likely the present policy does what they hold,
            rho = prod_t pi(u_t | o_t) / pi_then(u_t | o_t), held constant; otherwise rho = 1.
        max_weight: rho is at most this, at least 1.
        recent: draw windows from so many of the latest transitions only; from all if None.
        gamma: discount, in (0, 1].
        learning_rate: of the policy.
        max_norm: gradients are scaled down to this norm.
        value_learning_rate: of the value.
        value_hidden_sizes: widths of the value's hidden layers.
        value_updates: of the value per iteration, each on all steps of a fresh batch of windows.
        target_rate: part of the target value kept per update, in [0, 1).
        seed: of windows, at least 0.
        evaluation: from the policy to metrics.

    Source: Heess et al. (2015), "Learning continuous control policies by stochastic value gradients", algorithms 1
    and 2. The bound on the weights is ours.
    """

    def __init__(
        self,
        mdp: LearnedMDP,
        policy: Policy,
        *,
        horizon: int = 5,
        use_value: bool = True,
        importance_weights: bool = True,
        max_weight: float = 2.0,
        recent: int | None = None,
        gamma: float = 0.99,
        learning_rate: float = 1e-3,
        max_norm: float = 1.0,
        value_learning_rate: float = 1e-3,
        value_hidden_sizes: Sequence[int] = (128, 128),
        value_updates: int = 2,
        target_rate: float = 0.99,
        seed: int = 0,
        evaluation: Evaluator | None = None,
    ) -> None:
        if not isinstance(mdp, LearnedMDP):
            raise TypeError(f"mdp must be a learned one, whose noise can be inferred, got {type(mdp).__name__}")
        require(not mdp.model.memory_size, "memory_size", "0 to infer noise along windows", mdp.model.memory_size)
        super().__init__(policy, seed=seed, device=mdp.device, evaluation=evaluation)
        at_least_one(horizon=horizon, recent=recent, value_updates=value_updates)
        positive(learning_rate=learning_rate, max_norm=max_norm, value_learning_rate=value_learning_rate)
        unit_interval("(]", gamma=gamma)
        unit_interval("[)", target_rate=target_rate)
        require(max_weight >= 1, "max_weight", ">= 1", max_weight)
        self.mdp, self.horizon, self.gamma, self.recent = mdp, horizon, gamma, recent
        self.use_value, self.importance_weights, self.max_weight = use_value, importance_weights, max_weight
        self.learning_rate, self.max_norm = learning_rate, max_norm
        self.value_learning_rate, self.value_updates, self.target_rate = value_learning_rate, value_updates, target_rate
        self.value = self.target_value = None
        if use_value:
            size = mdp.observation_space.shape[0]
            self.value = ValueMLP(size, policy.normalizer, hidden_sizes=value_hidden_sizes).to(mdp.device, mdp.dtype)
            self.target_value = target_network(self.value)

    def configure_optimizers(self) -> list[Optimizer]:
        """Adam, for the policy and for the value if there is one."""
        optimizers: list[Optimizer] = [Adam(self.policy.parameters(), lr=self.learning_rate)]
        if self.value is not None:
            optimizers.append(Adam(self.value.network.parameters(), lr=self.value_learning_rate))
        return optimizers

    def iterate(self) -> dict[str, Tensor | float]:
        """Fits the value, and climbs the return of one batch of windows."""
        policy_optimizer, *rest = self.all_optimizers()
        metrics = self.fit_value(rest[0]) if rest else {}
        window, valid = self.draw()
        experience = self.infer(window, valid)
        loss, grad_norm = self.gradient_step(lambda: -self.objective(experience), policy_optimizer, self.max_norm)
        if self.policy.normalizer is not None:
            self.policy.normalizer.update(window["obs"][valid])
        return {**metrics, "objective": -loss, "grad_norm": grad_norm, "weight": experience.weight.mean()}

    def draw(self) -> tuple[dict[str, Tensor], Tensor]:
        """Windows that start anywhere in the data: their fields [H, N, ...], and which steps happened, bool [H, N]."""
        data = self.mdp.data
        first = 0 if self.recent is None else max(len(data) - self.recent, 0)
        shape = (self.mdp.num_envs,)
        start = torch.randint(first, len(data), shape, generator=self.generator, device=self.mdp.device)
        return data.sequences(start, self.horizon)

    @torch.no_grad()
    def infer(self, window: dict[str, Tensor], valid: Tensor) -> Experience:
        """Finds the noises, in a world drawn for each window."""
        elites, count = self.mdp.model.elites, valid.shape[1]
        chosen = torch.randint(len(elites), (count,), generator=self.generator, device=elites.device)
        member = elites[chosen].expand(valid.shape).flatten()
        obs, action, next_obs = (window[name].flatten(0, 1) for name in ("obs", "action", "next_obs"))
        state = self.mdp.state(obs, member)
        noise = self.mdp.infer_noise(state, action, next_obs, window["reward"].flatten())
        noise = noise.unflatten(0, valid.shape) * valid.unsqueeze(-1)
        action_noise = infer_action_noise(self.policy, window["obs"], window["action"])
        initial = state[:count]
        last = valid.clone()
        last[:-1] &= ~valid[1:]
        scenarios = Scenarios(initial, initial[None], noise, action_noise)
        weight = self.weigh(window, valid)
        return Experience(scenarios, weight, valid, last, window["terminated"] & last)

    @torch.no_grad()
    def weigh(self, window: dict[str, Tensor], valid: Tensor) -> Tensor:
        """The weight rho of each window, [N]."""
        if not self.importance_weights:
            return window["reward"].new_ones(valid.shape[1])
        if window["log_prob"].isnan().any():
            raise ValueError("log_prob must be known for importance weights, got nan; take a policy that has a density")
        assert isinstance(self.policy, GaussianMLP)
        ratio = self.policy.log_prob(window["obs"], window["action"]) - window["log_prob"]
        return (ratio * valid).sum(0).exp().clamp(max=self.max_weight)

    def objective(self, experience: Experience) -> Tensor:
        """J, with its graph through model and policy."""
        mdp, policy = Endless(self.mdp), self.policy
        trajectory, _ = rollout(mdp, policy, experience.scenarios, max_age=self.horizon + 1)
        time = torch.arange(self.horizon, device=mdp.device, dtype=mdp.dtype).unsqueeze(1)
        counted = self.gamma**time * experience.valid * trajectory.reward
        if self.target_value is not None:
            goes_on = experience.last & ~experience.terminated
            counted = counted + self.gamma ** (time + 1) * goes_on * self.target_value(trajectory.next_obs)
        return (experience.weight * counted.sum(0)).mean()

    def fit_value(self, optimizer: Optimizer) -> dict[str, Tensor | float]:
        """Regresses V on r + gamma V' of the steps of fresh windows, weighted as the policy's are."""
        assert self.value is not None and self.target_value is not None
        value, last = self.value, torch.zeros(())
        for _ in range(self.value_updates):
            window, valid = self.draw()
            with torch.no_grad():
                next_value = torch.where(window["terminated"], 0.0, self.target_value(window["next_obs"]))
                goal = window["reward"] + self.gamma * next_value
                weight = (self.weigh(window, valid) * valid).sqrt()
            last, _ = self.gradient_step(
                lambda w=window, g=goal, s=weight: mse_loss(s * value(w["obs"]), s * g), optimizer, self.max_norm
            )
            polyak_update(self.target_value, self.value, self.target_rate)
        return {"value_loss": last}


def infer_action_noise(policy: Policy, obs: Tensor, action: Tensor) -> Tensor:
    """The noise z with which the policy takes `action` [..., A] at `obs` [..., O]: [..., A]; [..., 0] if it takes none.

    Raises: TypeError if the policy's choices are not independent normal numbers.
    """
    if policy.noise_size == 0:
        return action[..., :0]
    raw = policy.raw_distribution(obs) if isinstance(policy, StochasticPolicy) else None
    if not isinstance(raw, DiagonalGaussian) or not isinstance(policy, GaussianMLP):
        raise TypeError(f"policy must be a GaussianMLP, whose noise can be inferred, got {type(policy).__name__}")
    return (policy.squash.inverse(action) - raw.mean) / raw.std


FAMILY = {
    "SVG1": {"horizon": 1},
    "SVGk": {},
    "SVGInf": {"horizon": 50, "use_value": False, "importance_weights": False},
}
"""Options that make `SVG` what its papers call by these names."""
