"""Short-horizon actor-critic."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.optim import Adam, Optimizer

from diffsim.mdp import MDP, Scenarios
from diffsim.policies import GaussianMLP, Policy, ValueMLP
from diffsim.trainers.algorithm import Algorithm, Evaluator
from diffsim.trainers.errors import NonFiniteError
from diffsim.trainers.experience.mdp_wrappers import BoundedMDP
from diffsim.trainers.experience.rollout import Trajectory
from diffsim.trainers.maths.polyak import polyak_update
from diffsim.trainers.maths.returns import discount_weights, episode_returns, lambda_returns
from diffsim.trainers.maths.schedule import Decay, check_decay, part_left
from diffsim.trainers.pathwise.critic import Critic
from diffsim.trainers.pathwise.nonfinite import explain_nonfinite
from diffsim.trainers.pathwise.window import DifferentiatedWindow, clip_samples, differentiate_window, gradient_metrics
from diffsim.trainers.ranges import at_least_one, nonnegative, positive, unit_interval

LEAST_RATE = 0.02  # part of the learning rates that is left in the end


class SHAC(Algorithm):
    """Climbs short windows of exact dynamics, with a learned value for all that comes after.

        actor    maximise mean_t G_t(actor_lam) + entropy_weight H(p(. | o_t)),
                 dG_t / du_t through the dynamics and the target value
        critic   minimise mean_t (V(o_t) - G_t(lam))^2
        target   V' <- target_rate * V' + (1 - target_rate) * V

    Windows start where the last ones ended. At the end of a window, and where an episode is cut short, the
    target value stands in for the rest; a terminal state is worth nothing.

    Args:
        mdp: differentiable dynamics, reward and observation.
        policy: what is evaluated and kept: the running average of the actor that is trained.
        horizon: H, steps per window. Longer ones lean less on the value; their gradients grow.
        gamma: discount, in (0, 1].
        lam: of the critic's targets, in [0, 1].
        actor_lam: of the actor's objective, in (0, 1]. Below 1, early rewards count fully while the value of every
            state on the way has its say, not only of the last: less variance.
        undiscount: follow dG_t / du_t at each step t, rather than dG_0 / du_t, which is smaller by
            (gamma * actor_lam)^t: the last actions of a window then count as much as the first.
        terminal_gradient: let the slope of the value reach the actor in terminal states too, and fit the value to
            0 there. Otherwise nothing in the gradient says that a fall can be put off.
        clip_ratio: scale each dG_t / du_t down to this multiple of the batch's median norm: see `clip_samples`.
            None for no clipping.
        truncation_rate: probability per step of cutting an episode short, so that fresh starts, from which the
            policy is evaluated, stay among the data.
        end_beyond: bounds on observed numbers that end an episode in training only: see `BoundedMDP`.
        average: of the actor's weights, the part kept per iteration, in [0, 1); the average is steadier than the
            actor. 0 for the actor itself.
        target_rate: part of the target value kept per iteration, in [0, 1).
        learning_rate: of the actor.
        value_learning_rate: of the critic.
        decay_env_steps: when both rates fall linearly to 2 %, as two counts of env steps or the second; None for never.
        max_norm: gradients of all of the actor's or the critic's parameters are scaled down to this norm.
        actor_epochs: updates of the actor per window. The gradient by the actions is of the first; for later ones, a
            penalty |g|_median / (2 action_step) |u - u_old|^2 keeps the actions near those it is of.
        action_step: how far, in the action's units, a gradient of median norm then moves an action.
        entropy_weight: of the entropy of each step's action, beside its return and not part of it, at least 0. Keeps
            actions away from their bounds, where tanh leaves them no slope; of clipped actions it can only widen a
            deviation that is learned. Needs a GaussianMLP.
        value_hidden_sizes: widths of the critic's hidden layers.
        value_epochs: passes over the data to fit the critic.
        value_windows: how many of the latest windows make up the data.
        value_minibatches: critic updates per pass.
        value_slope_weight: fit the slope of the value, too, to those of the returns, with this weight beside the
            values' squared error: see `add_slopes`. The actor follows nothing but slopes. Observation and reward
            must then take any number of rows.
        seed: of initial states and noises, at least 0.
        evaluation: from the policy to metrics.

    Source: Xu et al. (2022), "Accelerated policy learning with parallel differentiable simulation"; Heess et al.
    (2015), "Learning continuous control policies by stochastic value gradients"; for the actor's objective, Hafner
    et al. (2020), "Dream to control"; for the entropy, in another form, Xing et al. (2025), "Stabilizing reinforcement
    learning in differentiable multiphysics simulation".
    """

    state: Tensor
    age: Tensor
    running_return: Tensor

    def __init__(
        self,
        mdp: MDP,
        policy: Policy,
        *,
        horizon: int = 16,
        gamma: float = 0.99,
        lam: float = 0.95,
        actor_lam: float = 0.95,
        undiscount: bool = True,
        terminal_gradient: bool = True,
        clip_ratio: float | None = 10.0,
        truncation_rate: float = 0.0,
        end_beyond: Mapping[int, float] | None = None,
        average: float = 0.9,
        target_rate: float = 0.2,
        learning_rate: float = 2e-3,
        value_learning_rate: float = 2e-3,
        decay_env_steps: Decay = None,
        max_norm: float = 1.0,
        actor_epochs: int = 1,
        action_step: float = 0.1,
        entropy_weight: float = 0.0,
        value_hidden_sizes: Sequence[int] = (128, 128),
        value_epochs: int = 16,
        value_windows: int = 1,
        value_minibatches: int = 4,
        value_slope_weight: float = 0.0,
        seed: int = 0,
        evaluation: Evaluator | None = None,
    ) -> None:
        super().__init__(policy, seed=seed, device=mdp.device, evaluation=evaluation)
        clip_ratio = float("inf") if clip_ratio is None else clip_ratio
        at_least_one(horizon=horizon, actor_epochs=actor_epochs)
        check_decay(decay_env_steps)
        at_least_one(value_epochs=value_epochs, value_windows=value_windows, value_minibatches=value_minibatches)
        positive(clip_ratio=clip_ratio, action_step=action_step, max_norm=max_norm)
        positive(learning_rate=learning_rate, value_learning_rate=value_learning_rate)
        unit_interval("(]", gamma=gamma, actor_lam=actor_lam)
        unit_interval("[]", lam=lam)
        unit_interval("[)", truncation_rate=truncation_rate, average=average, target_rate=target_rate)
        nonnegative(value_slope_weight=value_slope_weight, entropy_weight=entropy_weight)
        if entropy_weight > 0 and not isinstance(policy, GaussianMLP):
            raise ValueError(f"entropy_weight must be 0 unless the policy is a GaussianMLP, got {entropy_weight}")
        self.mdp = BoundedMDP(mdp, end_beyond) if end_beyond else mdp
        self.horizon, self.gamma, self.actor_lam = horizon, gamma, actor_lam
        self.undiscount, self.clip_ratio = undiscount, clip_ratio
        self.truncation_rate, self.average = truncation_rate, average
        self.learning_rate, self.value_learning_rate = learning_rate, value_learning_rate
        self.decay_env_steps, self.max_norm = decay_env_steps, max_norm
        self.actor_epochs, self.action_step, self.entropy_weight = actor_epochs, action_step, entropy_weight
        self.actor = copy.deepcopy(policy)
        policy.requires_grad_(False)
        self.actor.normalizer = policy.normalizer  # one pair of spectacles for all
        value = ValueMLP(mdp.observation_space.shape[0], policy.normalizer, hidden_sizes=value_hidden_sizes)
        self.critic = Critic(
            value.to(mdp.device, mdp.dtype),
            gamma=gamma,
            lam=lam,
            slope_lam=actor_lam,
            terminal=terminal_gradient,
            target_rate=target_rate,
            epochs=value_epochs,
            windows=value_windows,
            minibatches=value_minibatches,
            slope_weight=value_slope_weight,
        )
        zeros = torch.zeros(mdp.num_envs, device=mdp.device, dtype=mdp.dtype)
        self.register_buffer("state", zeros[:, None].repeat(1, mdp.state_size))
        self.register_buffer("age", zeros.long())
        self.register_buffer("running_return", zeros)

    def configure_optimizers(self) -> list[Optimizer]:
        """Adam for each of the two; betas below the usual ones follow a moving objective sooner."""
        return [
            Adam(net.parameters(), lr=rate, betas=(0.7, 0.95), fused=True)
            for net, rate in ((self.actor, self.learning_rate), (self.critic.value, self.value_learning_rate))
        ]

    def iterate(self) -> dict[str, Tensor | float]:
        """Rolls out one window, and improves first the actor by it, then the critic."""
        actor_optimizer, value_optimizer = self.all_optimizers()
        rate = max(part_left(self.decay_env_steps, self.env_steps), LEAST_RATE)
        actor_optimizer.param_groups[0]["lr"] = rate * self.learning_rate
        value_optimizer.param_groups[0]["lr"] = rate * self.value_learning_rate

        # Back through time to every action, and from there, all samples at once, to the actor's parameters.
        scenarios, age = self.next_scenarios()
        window = self.differentiate(scenarios, age)
        trajectory = window.trajectory
        gradient, scale = clip_samples(self.ascent(window), self.clip_ratio)
        loss = partial(self.actor_loss, trajectory, scenarios.action_noise, gradient)
        norms = [self.gradient_step(loss, actor_optimizer, self.max_norm)[1] for _ in range(self.actor_epochs)]
        losses = self.critic.losses(self.mdp, window, self.generator)
        value_losses = [self.gradient_step(loss, value_optimizer, self.max_norm)[0] for loss in losses]
        self.critic.update_target()
        polyak_update(self.policy, self.actor, self.average)

        # Go on from where the window ended. Only now may the networks see with newer statistics.
        self.state, self.age = window.worlds
        self.env_steps += trajectory.reward.numel()
        if self.policy.normalizer is not None:
            self.policy.normalizer.update(trajectory.obs)
        finished, self.running_return = episode_returns(trajectory.reward, trajectory.ended, self.running_return)
        return {
            **({"return": finished.mean()} if len(finished) else {}),
            "reward": trajectory.reward.mean(),
            "value_loss": value_losses[-1],
            "grad_norm": norms[0],
            "learning_rate": rate * self.learning_rate,
            "terminated": trajectory.terminated.float().mean(),
            **gradient_metrics(self.ascent(window), scale),
        }

    def next_scenarios(self) -> tuple[Scenarios, Tensor]:
        """States and noises for the next window, and the age of each world's episode, int64 [N]."""
        scenarios, max_age = self.draw(self.generator), self.mdp.max_episode_steps
        if self.iteration == 0:  # worlds of all ages, so that time-outs do not come all at once
            return scenarios, self.random_integers(max_age)
        # Whom to cut short, and when: told as an age, of which time-outs are made.
        time = self.random_integers(self.horizon)
        share = 1.0 - (1.0 - self.truncation_rate) ** self.horizon
        cut = torch.rand(self.mdp.num_envs, generator=self.generator, device=self.mdp.device) < share
        age = torch.where(cut, (max_age - 1 - time).maximum(self.age), self.age)
        return scenarios.starting_from(self.state), age

    def draw(self, generator: torch.Generator) -> Scenarios:
        """Scenarios of one window, with the noise this policy takes."""
        return Scenarios.draw(self.mdp, self.horizon, generator, action_noise_size=self.policy.noise_size)

    def random_integers(self, below: int) -> Tensor:
        """For each world one of 0, 1, ..., below - 1: int64 [N]."""
        return torch.randint(below, (self.mdp.num_envs,), generator=self.generator, device=self.mdp.device)

    def differentiate(self, scenarios: Scenarios, age: Tensor) -> DifferentiatedWindow:
        """Rolls out a window, and differentiates the objective.

        Raises: NonFiniteError, saying where, if a gradient is not finite.
        """
        window = differentiate_window(self.mdp, self.actor, scenarios, self.objective, age=age)
        if not window.action_gradient.isfinite().all():
            raise NonFiniteError(explain_nonfinite(self.mdp, self.actor, scenarios, self.objective, age=age))
        return window

    def ascent(self, window: DifferentiatedWindow) -> Tensor:
        """dG_t / du_t, or if not to be undiscounted dG_0 / du_t, [H, N, A]."""
        if not self.undiscount:
            return window.action_gradient
        gradient = window.action_gradient
        weights = discount_weights(window.trajectory.ended, self.gamma * self.actor_lam, gradient.dtype)
        return gradient / weights.unsqueeze(-1)

    def objective(self, trajectory: Trajectory) -> Tensor:
        """Sum of the lambda-returns of every episode's first step in the window."""
        value = self.critic.after(trajectory)
        returns = lambda_returns(trajectory.reward, value, trajectory.ended, self.gamma, self.actor_lam)
        return returns[0].sum() + returns[1:][trajectory.ended[:-1]].sum()

    def actor_loss(self, trajectory: Trajectory, noise: Tensor, gradient: Tensor) -> Tensor:
        """A number whose gradient by the parameters is at first that of the objective, averaged over samples.

            -g . u_theta + |g|_median / (2 action_step) |u_theta - u|^2 + entropy_weight log p_theta(u_theta)

        Args:
            trajectory: what was done.
            noise: [H, N, Z]; Z may be 0.
            gradient: g, dJ / du, [H, N, A].
        """
        obs, entropy = trajectory.obs, 0.0
        if self.entropy_weight > 0:
            assert isinstance(self.actor, GaussianMLP)
            action, log_prob = self.actor.sample(obs, noise)
            entropy = -log_prob.mean()
        else:
            action = self.actor(obs, noise if noise.shape[-1] else None)
        curvature = gradient.norm(dim=-1).median() / self.action_step
        moved = (action - trajectory.action).square().sum(-1).mean()
        return -(gradient * action).sum(-1).mean() + 0.5 * curvature * moved - self.entropy_weight * entropy

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds the latest windows' data."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["diffsim"]["latest"] = self.critic.saved()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restores what `on_save_checkpoint` added."""
        super().on_load_checkpoint(checkpoint)
        self.critic.load(checkpoint["diffsim"]["latest"])
