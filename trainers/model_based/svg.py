"""Stochastic value gradients: through a learned model, along real trajectories with inferred noise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import mse_loss
from torch.optim import Adam, Optimizer

from diffsim.checks import require
from diffsim.mdp import Scenarios
from diffsim.models import LearnedMDP
from diffsim.policies import DiagonalGaussian, GaussianMLP, Policy, StochasticPolicy, ValueMLP
from diffsim.trainers.algorithm import MDPAlgorithm
from diffsim.trainers.experience.mdp_wrappers import MDPWrapper
from diffsim.trainers.experience.rollout import rollout
from diffsim.trainers.maths.polyak import polyak_update, target_network
from diffsim.trainers.metrics import Metric, check_late
from diffsim.trainers.options import option


class Experience(NamedTuple):
    """Windows of real experience, and the noise with which model and policy reproduce them.

    Attributes:
        scenarios: initial states [N, S] and noises [H, N, ...].
        weight: [N], rho of each window.
        valid: bool [H, N], steps that belong to the window.
        last: bool [H, N], the last valid step of each window.
        terminated: bool [H, N].
    """

    scenarios: Scenarios
    weight: Tensor
    valid: Tensor
    last: Tensor
    terminated: Tensor


class Endless(MDPWrapper):
    """An MDP without termination. The data determine where a window ends."""

    def terminal(self, state: Tensor) -> Tensor:
        """False: bool [N]."""
        return torch.zeros(len(state), dtype=torch.bool, device=state.device)


class SVG(MDPAlgorithm):
    """Maximises the return of real windows by its gradient through a learned model, with inferred noise.

        w_t = (o_{t+1} - m(o_t, u_t)) / s(o_t, u_t),   z_t = (x_t - mean(o_t)) / std(o_t)
        J(theta) = mean_n rho_n (sum_{t<k} gamma^t r_t + gamma^k V(o_k)),    o_{t+1} = m + s w_t,   u_t = pi(o_t, z_t)

    With this noise, model and current policy reproduce the observed transitions. The model is then differentiated along
    real trajectories, and its errors do not accumulate. Windows start anywhere in the data. The value after a terminal
    state is 0; after a truncation V is used.

    SVG(1) has k = 1, and importance weights to learn from old data; SVG(inf) has complete windows and no V.

    Source: Heess et al. (2015), "Learning continuous control policies by stochastic value gradients", algorithms 1
    and 2. The bound on the weights is not from the paper.
    """

    family = "learned model"

    horizon: int = option("k, steps per window; fewer where an episode ends.", ">= 1", default=5)
    use_value: bool = option("add the value V of the state after a window; otherwise 0.", default=True)
    importance_weights: bool = option(
        "weight windows by rho = prod_t pi(u_t | o_t) / pi_old(u_t | o_t), held constant; otherwise rho = 1.",
        default=True,
    )
    max_weight: float = option("largest rho.", ">= 1", default=2.0)
    recent: int | None = option(
        "draw windows from this number of latest transitions; from all if None.", ">= 1", default=None
    )
    gamma: float = option("discount.", "in (0, 1]", default=0.99)
    learning_rate: float = option("of the policy's Adam.", "> 0", default=1e-3)
    max_norm: float = option("gradients are scaled down to this norm.", "> 0", default=1.0)
    value_learning_rate: float = option("of V's Adam.", "> 0", default=1e-3)
    value_hidden_sizes: Sequence[int] = option("widths of V's hidden layers.", default=(128, 128))
    value_updates: int = option(
        "updates of V per iteration, each on all steps of a new batch of windows.", ">= 1", default=2
    )
    target_rate: float = option("part of the target value's weights kept per update.", "in [0, 1)", default=0.99)

    def setup(self) -> None:
        """Builds V and its target network."""
        mdp, policy = self.mdp, self.policy
        if not isinstance(mdp, LearnedMDP):
            raise TypeError(f"mdp must be a LearnedMDP, to infer its noise, got {type(mdp).__name__}")
        memory_size = mdp.model.memory_size
        require(memory_size == 0, "memory_size", "0 to infer noise along windows", memory_size)
        self.learned_mdp = mdp
        self.value = self.target_value = None
        if self.use_value:
            size = mdp.observation_space.shape[0]
            value = ValueMLP(size, policy.normalizer, hidden_sizes=self.value_hidden_sizes)
            self.value = value.to(mdp.device, mdp.dtype)
            self.target_value = target_network(self.value)

    def make_optimizers(self) -> list[Optimizer]:
        """Adam for the policy, and for V if there is one."""
        optimizers: list[Optimizer] = [Adam(self.policy.parameters(), lr=self.learning_rate)]
        if self.value is not None:
            optimizers.append(Adam(self.value.network.parameters(), lr=self.value_learning_rate))
        return optimizers

    def iterate(self) -> dict[str, Metric]:
        """Fits V, then updates the policy by one batch of windows."""
        policy_optimizer, *rest = self.optimizers
        metrics = self.fit_value(rest[0]) if rest else {}
        window, valid = self.draw()
        experience = self.infer(window, valid)
        loss, grad_norm = self.gradient_step(lambda: -self.objective(experience), policy_optimizer, self.max_norm)
        if self.policy.normalizer is not None:
            self.policy.normalizer.update(window["obs"][valid])
        return {**metrics, "objective": -loss, "grad_norm": grad_norm, "weight": experience.weight.mean()}

    def draw(self) -> tuple[dict[str, Tensor], Tensor]:
        """Draws windows from the data. Returns their fields [H, N, ...], and the mask of valid steps, bool [H, N]."""
        data = self.learned_mdp.data
        first = 0 if self.recent is None else max(len(data) - self.recent, 0)
        shape = (self.mdp.num_envs,)
        start = torch.randint(first, len(data), shape, generator=self.generator, device=self.mdp.device)
        return data.sequences(start, self.horizon)

    @torch.no_grad()
    def infer(self, window: dict[str, Tensor], valid: Tensor) -> Experience:
        """Infers the noise of each window, with a member drawn for each."""
        elites, count = self.learned_mdp.model.elites, valid.shape[1]
        chosen = torch.randint(len(elites), (count,), generator=self.generator, device=elites.device)
        member = elites[chosen].expand(valid.shape).flatten()
        obs, action, next_obs = (window[name].flatten(0, 1) for name in ("obs", "action", "next_obs"))
        state = self.learned_mdp.state(obs, member)
        noise = self.learned_mdp.infer_noise(state, action, next_obs, window["reward"].flatten())
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
        """Importance weight rho of each window, [N]."""
        if not self.importance_weights:
            return window["reward"].new_ones(valid.shape[1])
        check_late(window["log_prob"].isnan().any(), _refuse_density)
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
            bootstrapped = experience.last & ~experience.terminated
            counted = counted + self.gamma ** (time + 1) * bootstrapped * self.target_value(trajectory.next_obs)
        return (experience.weight * counted.sum(0)).mean()

    def fit_value(self, optimizer: Optimizer) -> dict[str, Metric]:
        """Fits V to r + gamma V' at the steps of new windows, with importance weights. V' is the target network."""
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


def _refuse_density() -> None:
    """Raises the error of data without the log densities of actions."""
    raise ValueError("importance weights need log_prob in the data, got nan; use a policy with a density")


def infer_action_noise(policy: Policy, obs: Tensor, action: Tensor) -> Tensor:
    """The noise z for which the policy takes `action` [..., A] at `obs` [..., O]: [..., A]; [..., 0] without noise.

    Raises: TypeError if the policy is not a diagonal Gaussian.
    """
    if policy.noise_size == 0:
        return action[..., :0]
    raw = policy.raw_distribution(obs) if isinstance(policy, StochasticPolicy) else None
    if not isinstance(raw, DiagonalGaussian) or not isinstance(policy, GaussianMLP):
        raise TypeError(f"policy must be a GaussianMLP, to infer its noise, got {type(policy).__name__}")
    return (policy.squash.inverse(action) - raw.mean) / raw.std


VARIANTS: dict[str, dict[str, Any]] = {
    "SVG1": {"horizon": 1},
    "SVGk": {},
    "SVGInf": {"horizon": 50, "use_value": False, "importance_weights": False},
}
"""Options of the algorithms of the paper."""
