"""Back-propagation through time."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.optim import Adam, Optimizer

from diffsim.mdp import MDP, Scenarios
from diffsim.policies import Policy
from diffsim.trainers.algorithm import Algorithm, Evaluator
from diffsim.trainers.errors import NonFiniteError, UsageError
from diffsim.trainers.experience.rollout import Trajectory, rollout
from diffsim.trainers.maths.returns import discount_weights, episode_returns, first_episode
from diffsim.trainers.pathwise.nonfinite import explain_nonfinite
from diffsim.trainers.pathwise.reward_slope import NO_SLOPE, require_sloped_reward


class BPTT(Algorithm):
    """Climbs the return of H-step roll-outs by its exact gradient through the dynamics.

        J(theta) = 1 / (N H) * sum_n sum_t gamma^t R(s_t, pi_theta(o_t, z_t), s_{t+1})

    Where the worlds start decides what is learned:

    * "carried": a window starts where the last one ended, cut from its graph (truncated BPTT). Worlds whose
      episode ends, or reaches `max_age`, go on from fresh states, and t counts from there.
    * "per_iteration": every window starts from fresh states; only each world's first episode counts.

    With the same states and noises in every iteration it would be `Pegasus`.

    Args:
        mdp: differentiable dynamics, reward and observation.
        policy: what is trained.
        horizon: H, steps per window.
        start: "carried" or "per_iteration".
        max_age: steps after which a world goes on from a fresh state; the task's episode length if None.
        gamma: discount, in (0, 1].
        learning_rate: Adam's step size, above 0.
        decay_iterations: iterations over which the learning rate falls linearly to zero; constant if None.
        max_norm: gradients are scaled down to this norm, above 0.
        seed: of initial states and noises, at least 0.
        evaluation: from the policy to metrics.

    Source: Werbos (1990), "Backpropagation through time".
    """

    state: Tensor
    age: Tensor
    running_return: Tensor

    def __init__(
        self,
        mdp: MDP,
        policy: Policy,
        *,
        horizon: int = 32,
        start: Literal["carried", "per_iteration"] = "carried",
        max_age: int | None = None,
        gamma: float = 1.0,
        learning_rate: float = 3e-3,
        decay_iterations: int | None = None,
        max_norm: float = 1.0,
        seed: int = 0,
        evaluation: Evaluator | None = None,
    ) -> None:
        super().__init__(policy, seed=seed, device=mdp.device, evaluation=evaluation)
        at_least_one = {"horizon": horizon, "max_age": max_age, "decay_iterations": decay_iterations}
        for name, value in at_least_one.items():
            if value is not None and value < 1:
                raise ValueError(f"{name} must be >= 1, got {value}")
        for name, number in {"learning_rate": learning_rate, "max_norm": max_norm}.items():
            if not number > 0:
                raise ValueError(f"{name} must be > 0, got {number}")
        if not 0 < gamma <= 1:
            raise ValueError(f"gamma must be in (0, 1], got {gamma}")
        if start not in ("carried", "per_iteration"):
            raise ValueError(f"start must be one of carried, per_iteration, got {start!r}")
        self.mdp, self.horizon, self.start, self.gamma = mdp, horizon, start, gamma
        self.max_age = mdp.max_episode_steps if max_age is None else max_age
        self.learning_rate, self.decay_iterations, self.max_norm = learning_rate, decay_iterations, max_norm
        zeros = torch.zeros(mdp.num_envs, device=mdp.device, dtype=mdp.dtype)
        self.register_buffer("state", zeros[:, None].repeat(1, mdp.state_size))
        self.register_buffer("age", zeros.long())
        self.register_buffer("running_return", zeros)

    def check(self) -> None:
        """The reward must have a gradient."""
        require_sloped_reward(self.mdp)

    def configure_optimizers(self) -> Optimizer:
        """Adam."""
        return Adam(self.policy.parameters(), lr=self.learning_rate)

    def iterate(self) -> dict[str, Tensor | float]:
        """Rolls out one window, back-propagates its return, and steps."""
        scenarios, age = self.next_scenarios()
        optimizer = self.optimizers()
        assert isinstance(optimizer, Optimizer)
        decayed = 0.0 if self.decay_iterations is None else self.iteration / self.decay_iterations
        learning_rate = self.learning_rate * max(1.0 - decayed, 0.0)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate

        # Climb the return of the window.
        trajectory, worlds = rollout(self.mdp, self.policy, scenarios, age=age, max_age=self.max_age)
        self.env_steps += trajectory.reward.numel()
        if not trajectory.reward.requires_grad:
            raise UsageError(NO_SLOPE)
        try:
            loss, grad_norm = self.gradient_step(lambda: -self.objective(trajectory), optimizer, self.max_norm)
        except NonFiniteError as error:
            where = explain_nonfinite(self.mdp, self.policy, scenarios, self.objective, age=age, max_age=self.max_age)
            raise NonFiniteError(f"{error}; {where}") from None

        # Go on from where the window ended. Only now may the policy see with newer statistics.
        self.state, self.age = worlds
        if self.policy.normalizer is not None:
            self.policy.normalizer.update(trajectory.obs)
        return {
            **self.episode_return(trajectory),
            "objective": -loss,
            "grad_norm": grad_norm,
            "learning_rate": learning_rate,
        }

    def objective(self, trajectory: Trajectory) -> Tensor:
        """J: the window's discounted rewards, averaged over steps and worlds."""
        weights = discount_weights(trajectory.ended, self.gamma, trajectory.reward.dtype)
        if self.start != "carried":
            weights = weights * first_episode(trajectory.ended)
        return (weights * trajectory.reward).mean()

    def next_scenarios(self) -> tuple[Scenarios, Tensor]:
        """States and noises for the next window, and the age of each world's episode, int64 [N]."""
        scenarios = self.draw(self.generator)
        if self.start == "per_iteration" or self.iteration == 0:
            return scenarios, torch.zeros_like(self.age)
        return scenarios.starting_from(self.state), self.age

    def draw(self, generator: torch.Generator) -> Scenarios:
        """Scenarios of one window, with the noise this policy takes."""
        noise_size = self.policy.noise_size
        return Scenarios.draw(self.mdp, self.horizon, generator, action_noise_size=noise_size)

    @torch.no_grad()
    def episode_return(self, trajectory: Trajectory) -> dict[str, Tensor]:
        """Mean undiscounted return of the episodes that ended, or, from fresh starts, of the first ones."""
        if self.start != "carried":
            return {"return": (trajectory.reward * first_episode(trajectory.ended)).sum(0).mean()}
        finished, self.running_return = episode_returns(trajectory.reward, trajectory.ended, self.running_return)
        return {"return": finished.mean()} if len(finished) else {}
