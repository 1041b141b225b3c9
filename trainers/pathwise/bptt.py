"""Back-propagation through time."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.optim import LBFGS, Adam, Optimizer

from diffsim.mdp import MDP, Scenarios
from policies import Policy
from trainers.algorithm import Algorithm, Evaluation
from trainers.errors import NonFiniteError, UsageError
from trainers.nonfinite import explain_nonfinite
from trainers.returns import discount_weights, episode_returns, first_episode
from trainers.rollout import Trajectory, Worlds, rollout


class BPTT(Algorithm):
    """Climbs the return of H-step roll-outs by its exact gradient through the dynamics.

        J(theta) = 1 / (N H) * sum_n sum_t gamma^t R(s_t, pi_theta(o_t, z_t), s_{t+1})

    Where the worlds start decides what is learned:

    * "carried": a window starts where the last one ended, cut from its graph (truncated BPTT). Worlds whose
      episode ends, or reaches `max_age`, go on from fresh states, and t counts from there.
    * "per_iteration": every window starts from fresh states; only each world's first episode counts.
    * "fixed": the same initial states and noises in every iteration (PEGASUS), so that J is an ordinary
      function, fit for L-BFGS with a line search.

    Args:
        mdp: differentiable dynamics, reward and observation.
        policy: what is trained.
        horizon: H, steps per window.
        start: "carried", "per_iteration" or "fixed".
        max_age: steps after which a world goes on from a fresh state; the task's episode length if None.
        gamma: discount, in (0, 1].
        optimizer: "adam", or "lbfgs" with strong-Wolfe line search, which needs start "fixed".
        learning_rate: step size, above 0; for L-BFGS, the first one a line search tries. If None, 3e-3 for
            Adam and 1 for L-BFGS.
        decay_iterations: iterations over which the learning rate falls linearly to zero; constant if None.
        max_norm: Adam's gradients are scaled down to this norm, above 0.
        seed: of initial states and noises, at least 0.
        evaluation: from the policy to metrics.

    Source: Werbos (1990), "Backpropagation through time"; Ng & Jordan (2000), "PEGASUS".
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
        start: Literal["carried", "per_iteration", "fixed"] = "carried",
        max_age: int | None = None,
        gamma: float = 1.0,
        optimizer: Literal["adam", "lbfgs"] = "adam",
        learning_rate: float | None = None,
        decay_iterations: int | None = None,
        max_norm: float = 1.0,
        seed: int = 0,
        evaluation: Evaluation | None = None,
    ) -> None:
        super().__init__(policy, seed=seed, device=mdp.device, evaluation=evaluation)
        if learning_rate is None:
            learning_rate = 3e-3 if optimizer == "adam" else 1.0
        at_least_one = {"horizon": horizon, "max_age": max_age, "decay_iterations": decay_iterations}
        for name, value in at_least_one.items():
            if value is not None and value < 1:
                raise ValueError(f"{name} must be >= 1, got {value}")
        for name, number in {"learning_rate": learning_rate, "max_norm": max_norm}.items():
            if not number > 0:
                raise ValueError(f"{name} must be > 0, got {number}")
        if not 0 < gamma <= 1:
            raise ValueError(f"gamma must be in (0, 1], got {gamma}")
        if start not in ("carried", "per_iteration", "fixed"):
            raise ValueError(f"start must be one of carried, per_iteration, fixed, got {start!r}")
        if optimizer not in ("adam", "lbfgs"):
            raise ValueError(f"optimizer must be one of adam, lbfgs, got {optimizer!r}")
        if optimizer == "lbfgs" and start != "fixed":
            raise ValueError(f"start must be fixed for optimizer lbfgs, got {start!r}")
        self.mdp, self.horizon, self.start, self.gamma = mdp, horizon, start, gamma
        self.max_age = mdp.max_episode_steps if max_age is None else max_age
        self.optimizer, self.learning_rate = optimizer, learning_rate
        self.max_norm = max_norm if optimizer == "adam" else float("inf")
        self.decay_iterations = decay_iterations
        self.seed, self.fixed_scenarios = seed, None
        zeros = torch.zeros(mdp.num_envs, device=mdp.device, dtype=mdp.dtype)
        self.register_buffer("state", zeros[:, None].repeat(1, mdp.state_size))
        self.register_buffer("age", zeros.long())
        self.register_buffer("running_return", zeros)

    def configure_optimizers(self) -> Optimizer:
        """Adam, or L-BFGS with one direction and one line search per iteration."""
        parameters = self.policy.parameters()
        if self.optimizer == "adam":
            return Adam(parameters, lr=self.learning_rate)
        return LBFGS(parameters, lr=self.learning_rate, max_iter=1, line_search_fn="strong_wolfe")

    def iterate(self) -> dict[str, Tensor | float]:
        """Rolls out one window, back-propagates its return, and steps."""
        scenarios, age = self.next_scenarios()
        optimizer = self.optimizers()
        assert isinstance(optimizer, Optimizer)
        decayed = 0.0 if self.decay_iterations is None else self.iteration / self.decay_iterations
        learning_rate = self.learning_rate * max(1.0 - decayed, 0.0)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate

        # Climb the return of the window. Adam looks at it once, a line search several times.
        windows: list[tuple[Trajectory, Worlds]] = []

        def loss() -> Tensor:
            windows.append(rollout(self.mdp, self.policy, scenarios, age=age, max_age=self.max_age))
            if not windows[-1][0].reward.requires_grad:
                raise UsageError("the reward must depend on the actions; this task's has no gradient")
            return -self.objective(windows[-1][0])

        try:
            loss_before, grad_norm = self.descend(loss, optimizer, self.max_norm)
        except NonFiniteError as error:
            where = explain_nonfinite(self.mdp, self.policy, scenarios, self.objective, age=age, max_age=self.max_age)
            raise NonFiniteError(f"{error}; {where}") from None
        self.env_steps += sum(trajectory.reward.numel() for trajectory, _ in windows)

        # Go on from where the window ended. Only now may the policy see with newer statistics.
        trajectory, worlds = windows[0]
        self.state, self.age = worlds
        if self.policy.normalizer is not None and self.start != "fixed":
            self.policy.normalizer.update(trajectory.obs)
        return {
            **self.episode_return(trajectory),
            "objective": -loss_before,
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
        if self.start == "fixed":
            if self.fixed_scenarios is None:
                self.fixed_scenarios = self.draw(torch.Generator(self.mdp.device).manual_seed(self.seed))
                self.fit_normalizer_once(self.fixed_scenarios)
            return self.fixed_scenarios, torch.zeros_like(self.age)
        scenarios = self.draw(self.generator)
        if self.start == "per_iteration" or self.iteration == 0:
            return scenarios, torch.zeros_like(self.age)
        return scenarios.starting_from(self.state), self.age

    def draw(self, generator: torch.Generator) -> Scenarios:
        """Scenarios of one window, with the noise this policy takes."""
        noise_size = self.policy.noise_size
        return Scenarios.draw(self.mdp, self.horizon, generator, action_noise_size=noise_size)

    @torch.no_grad()
    def fit_normalizer_once(self, scenarios: Scenarios) -> None:
        """Lets the policy see one roll-out, and no more: a fixed objective needs fixed statistics."""
        if self.policy.normalizer is not None and self.iteration == 0:
            trajectory, _ = rollout(self.mdp, self.policy, scenarios, max_age=self.max_age)
            self.env_steps += trajectory.reward.numel()
            self.policy.normalizer.update(trajectory.obs)

    @torch.no_grad()
    def episode_return(self, trajectory: Trajectory) -> dict[str, Tensor]:
        """Mean undiscounted return of the episodes that ended, or, from fresh starts, of the first ones."""
        if self.start != "carried":
            return {"return": (trajectory.reward * first_episode(trajectory.ended)).sum(0).mean()}
        finished, self.running_return = episode_returns(trajectory.reward, trajectory.ended, self.running_return)
        return {"return": finished.mean()} if len(finished) else {}
