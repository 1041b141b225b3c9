"""Back-propagation through time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor
from torch.optim import Adam, Optimizer

from diffsim.mdp import Scenarios
from diffsim.trainers.algorithm import MDPAlgorithm
from diffsim.trainers.errors import NonFiniteError, UsageError
from diffsim.trainers.experience.rollout import Trajectory, rollout, window_checks
from diffsim.trainers.maths.returns import discount_weights, first_episode, running_returns
from diffsim.trainers.maths.schedule import check_decay_iterations
from diffsim.trainers.metrics import Metric, ended_episodes
from diffsim.trainers.options import buffer, option
from diffsim.trainers.pathwise.reward_gradient import NO_GRADIENT, require_reward_gradient
from diffsim.trainers.pathwise.window import explain_nonfinite, register_worlds


class BPTT(MDPAlgorithm):
    """Maximises the return of H-step roll-outs by its exact gradient through the dynamics.

        J(theta) = 1 / (N H) * sum_n sum_t gamma^t R(s_t, pi_theta(o_t, z_t), s_{t+1})

    `start` chooses the initial states of a window:

    * "carried": a window starts where the last one ended, without a gradient across (truncated BPTT). Worlds whose
      episode ends, or reaches `max_age`, restart from fresh states, and t counts from there.
    * "per_iteration": every window starts from fresh states; only each world's first episode counts.

    `Pegasus` uses the same states and noises in every iteration.

    The memory of a recurrent policy is carried, and cleared, with its world. Gradients pass through it within a window.

    Source: Werbos (1990), "Backpropagation through time".
    """

    family = "pathwise"
    takes_recurrent = True

    horizon: int = option("H, steps per window.", ">= 1", default=32)
    start: Literal["carried", "per_iteration"] = option("where windows start.", default="carried")
    max_age: int | None = option(
        "steps after which a world restarts from a fresh state; the task's episode length if None.",
        ">= 1",
        default=None,
    )
    gamma: float = option("discount.", "in (0, 1]", default=1.0)
    learning_rate: float = option("Adam's step size.", "> 0", default=3e-3)
    decay_iterations: int | Literal["budget"] | None = option(
        "iterations over which the learning rate falls linearly to zero; budget for those of the run, as `iterations` "
        "or `env_steps` give them; constant if None.",
        check_decay_iterations,
        default=None,
    )
    max_norm: float = option("gradients are scaled down to this norm.", "> 0", default=1.0)
    remat: bool = option(
        "compute the forward data of each step again in the backward pass, rather than keep them: a fraction of the "
        "memory, same gradients, more time.",
        default=False,
    )

    state: Tensor = buffer()
    age: Tensor = buffer()
    running_return: Tensor = buffer()
    memory: Tensor = buffer()

    def setup(self) -> None:
        """Makes the buffers of the worlds."""
        register_worlds(self, self.mdp, self.policy)

    def check(self) -> None:
        """Checks that the reward has a gradient."""
        require_reward_gradient(self.mdp)

    def make_optimizers(self) -> list[Optimizer]:
        """Adam for the policy."""
        return [Adam(self.policy.parameters(), lr=self.learning_rate)]

    def iteration_size(self) -> int:
        """Env steps of an iteration: a window in every world."""
        return self.horizon * self.mdp.num_envs

    def iterate(self) -> dict[str, Metric]:
        """Rolls out one window, back-propagates its return, and updates the policy."""
        max_age = self.mdp.max_episode_steps if self.max_age is None else self.max_age
        (optimizer,) = self.optimizers
        count = self.decay_iterations
        decayed = self.iteration / count if isinstance(count, int) else 0.0
        learning_rate = self.learning_rate * max(1.0 - decayed, 0.0)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate

        def explain(failed: Tensor, refuse: Callable[[], object]) -> None:
            checks.add(failed, lambda: self.explain(refuse, scenarios, options))
            checks.finish()

        with window_checks() as checks:
            scenarios, age = self.next_scenarios()
            memory = self.memory if self.start == "carried" else torch.zeros_like(self.memory)
            options = {"age": age, "max_age": max_age, "memory": memory}
            trajectory, worlds = rollout(self.mdp, self.policy, scenarios, remat=self.remat, **options)
            self.env_steps += trajectory.reward.numel()
            if not trajectory.reward.requires_grad:
                raise UsageError(NO_GRADIENT)
            loss, grad_norm = self.gradient_step(
                lambda: -self.objective(trajectory), optimizer, self.max_norm, check=explain
            )

        # Continue where the window ended. The statistics of the normaliser change only after the update.
        self.state, self.age, self.memory = worlds
        if self.policy.normalizer is not None:
            self.policy.normalizer.update(trajectory.obs)
        return {
            **self.episode_return(trajectory),
            "objective": -loss,
            "grad_norm": grad_norm,
            "learning_rate": learning_rate,
        }

    def explain(self, refuse: Callable[[], object], scenarios: Scenarios, options: dict[str, Any]) -> None:
        """Raises what `refuse` raises, with world and time step of a gradient that is not finite."""
        try:
            refuse()
        except NonFiniteError as error:
            where = explain_nonfinite(self.mdp, self.policy, scenarios, self.objective, **options)
            raise NonFiniteError(f"{error}; {where}") from None

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
        """Scenarios of one window, with action noise of the policy's size."""
        noise_size = self.policy.noise_size
        return Scenarios.draw(self.mdp, self.horizon, generator, action_noise_size=noise_size)

    @torch.no_grad()
    def episode_return(self, trajectory: Trajectory) -> dict[str, Metric]:
        """Mean undiscounted return of the episodes that ended, or with fresh starts of each world's first episode."""
        if self.start != "carried":
            return {"return": (trajectory.reward * first_episode(trajectory.ended)).sum(0).mean()}
        total, self.running_return = running_returns(trajectory.reward, trajectory.ended, self.running_return)
        return ended_episodes(total, trajectory.ended)
