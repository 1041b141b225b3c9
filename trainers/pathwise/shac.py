"""Short-horizon actor-critic."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.optim import Adam, Optimizer

from diffsim.mdp import Scenarios
from diffsim.policies import GaussianMLP, ValueMLP
from diffsim.trainers.algorithm import MDPAlgorithm
from diffsim.trainers.experience.mdp_wrappers import BoundedMDP, ShowsHidden
from diffsim.trainers.experience.rollout import Trajectory, window_checks
from diffsim.trainers.maths.polyak import polyak_update
from diffsim.trainers.maths.returns import discount_weights, lambda_returns, running_returns
from diffsim.trainers.maths.schedule import Decay, check_decay, part_left
from diffsim.trainers.metrics import Metric, ended_episodes
from diffsim.trainers.options import buffer, option
from diffsim.trainers.pathwise.captured_window import CapturedWindow
from diffsim.trainers.pathwise.critic import Critic
from diffsim.trainers.pathwise.window import (
    DifferentiatedWindow,
    clip_samples,
    differentiate_window,
    gradient_metrics,
    register_worlds,
)

LEAST_RATE = 0.02  # final part of the learning rates


class SHAC(MDPAlgorithm):
    """Short-horizon actor-critic: gradients through short windows of dynamics, and a learned value after them.

        actor    maximise mean_t G_t(actor_lam) + entropy_weight H(p(. | o_t)),
                 with dG_t / du_t through the dynamics and the target value
        critic   minimise mean_t (V(o_t) - G_t(lam))^2
        target   V' <- target_rate * V' + (1 - target_rate) * V

    A window starts where the last one ended. The target network V' estimates the return after the end of a window and
    after a time-out. The value of a terminal state is 0.

    `policy` is the running average of the trained actor. It is evaluated and saved.

    The memory of a recurrent policy is carried, and cleared, with its world. Gradients pass through it within a window.
    The value sees the observation only, or with `asymmetric` also what it hides (Pinto et al. (2018), "Asymmetric actor
    critic for image-based robot learning").

    Source: Xu et al. (2022), "Accelerated policy learning with parallel differentiable simulation"; Heess et al.
    (2015), "Learning continuous control policies by stochastic value gradients"; for the actor's objective, Hafner
    et al. (2020), "Dream to control"; for the entropy, in another form, Xing et al. (2025), "Stabilizing reinforcement
    learning in differentiable multiphysics simulation".
    """

    family = "pathwise"
    takes_recurrent = True

    horizon: int = option(
        "H, steps per window. Longer windows depend less on V; their gradients grow.", ">= 1", default=16
    )
    gamma: float = option("discount.", "in (0, 1]", default=0.99)
    lam: float = option("of the critic's lambda-returns.", "in [0, 1]", default=0.95)
    actor_lam: float = option(
        "of the actor's lambda-returns. Below 1, the values of all states of the window count, not only that of the "
        "last: less variance.",
        "in (0, 1]",
        default=0.95,
    )
    undiscount: bool = option(
        "use dG_t / du_t at each step t, rather than dG_0 / du_t, which is smaller by (gamma * actor_lam)^t: the "
        "last actions of a window then count as much as the first.",
        default=True,
    )
    terminal_gradient: bool = option(
        "back-propagate V' of terminal states to the actor, and fit V to 0 there. Without it, no gradient says that a "
        "termination can be delayed.",
        default=True,
    )
    clip_ratio: float | None = option(
        "scale each dG_t / du_t down to this multiple of the batch's median norm (`clip_samples`); None for no "
        "clipping.",
        "> 0",
        default=10.0,
    )
    truncation_rate: float = option(
        "probability per step that an episode is truncated. It keeps initial states, where evaluation starts, among "
        "the data.",
        "in [0, 1)",
        default=0.0,
    )
    termination_bounds: Mapping[int, float] | None = option(
        "bounds on entries of the observation that end an episode, in training only (`BoundedMDP`).", default=None
    )
    actor_ema: float = option(
        "part of the averaged actor's weights kept per iteration; 0 for the actor itself.", "in [0, 1)", default=0.9
    )
    target_rate: float = option("part of the target value kept per iteration.", "in [0, 1)", default=0.2)
    learning_rate: float = option("of the actor's Adam.", "> 0", default=2e-3)
    value_learning_rate: float = option("of the critic's Adam.", "> 0", default=2e-3)
    decay_env_steps: Decay = option(
        "env steps between which both learning rates fall linearly to 2 %: two counts, or only the second; budget for "
        "the run's env_steps; constant if None.",
        check_decay,
        default=None,
    )
    max_norm: float = option(
        "gradients of the actor, and of the critic, are scaled down to this norm.", "> 0", default=1.0
    )
    actor_epochs: int = option(
        "updates of the actor per window. Later ones reuse the gradient of the first, with a penalty "
        "|g|_median / (2 action_step) |u - u_old|^2 that keeps the actions near those of the window.",
        ">= 1",
        default=1,
    )
    action_step: float = option(
        "change of an action under this penalty for a gradient of median norm, in the action's units.",
        "> 0",
        default=0.1,
    )
    entropy_weight: float = option(
        "weight of the entropy of each action, added to the objective and not to the return. It keeps actions away "
        "from their bounds, where the gradient of tanh vanishes. Needs a GaussianMLP.",
        ">= 0",
        default=0.0,
    )
    value_hidden_sizes: Sequence[int] = option("widths of the critic's hidden layers.", default=(128, 128))
    value_epochs: int = option("passes over the data to fit the critic.", ">= 1", default=16)
    value_windows: int = option("number of latest windows in these data.", ">= 1", default=1)
    value_minibatches: int = option("critic updates per pass.", ">= 1", default=4)
    value_slope_weight: float = option(
        "weight of the squared error between dV/ds and the gradients of the returns (`add_slopes`). The MDP's "
        "observation and reward must then accept any number of rows.",
        ">= 0",
        default=0.0,
    )
    asymmetric: bool = option(
        "show the value, in training, what the policy does not observe: hidden velocities, noise-free observations, "
        "waiting actions, drawn parameters (`MDP.hidden`).",
        default=False,
    )
    remat: bool = option(
        "compute the forward data of each step again in the backward pass, rather than keep them: a fraction of the "
        "memory, same gradients, more time.",
        default=False,
    )
    cuda_graph: bool = option(
        "replay each window, forward and backward, as one CUDA graph; on a GPU only. Not yet run on one.",
        default=False,
    )

    state: Tensor = buffer()
    age: Tensor = buffer()
    running_return: Tensor = buffer()
    memory: Tensor = buffer()

    def setup(self) -> None:
        """Makes the actor, the critic, and the buffers of the worlds."""
        policy = self.policy
        self.check_policy()
        mdp = self.mdp = BoundedMDP(self.mdp, self.termination_bounds) if self.termination_bounds else self.mdp
        self.actor = copy.deepcopy(policy)
        policy.requires_grad_(False)
        self.actor.normalizer = policy.normalizer  # the same statistics for all networks
        normalizer = policy.normalizer
        if self.asymmetric:
            mdp = self.mdp = ShowsHidden(self.mdp)
            if normalizer is not None:
                normalizer = type(normalizer)(mdp.observation_space.shape[0]).to(mdp.device, mdp.dtype)
        value = ValueMLP(mdp.observation_space.shape[0], normalizer, hidden_sizes=self.value_hidden_sizes)
        self.critic = Critic(
            value.to(mdp.device, mdp.dtype),
            gamma=self.gamma,
            lam=self.lam,
            slope_lam=self.actor_lam,
            terminal=self.terminal_gradient,
            target_rate=self.target_rate,
            epochs=self.value_epochs,
            windows=self.value_windows,
            minibatches=self.value_minibatches,
            slope_weight=self.value_slope_weight,
        )
        register_worlds(self, mdp, policy)
        self.captured = CapturedWindow(self.differentiate) if self.cuda_graph and mdp.device.type == "cuda" else None

    def check_policy(self) -> None:
        """Raises ValueError if the options do not fit the policy."""
        if self.entropy_weight > 0 and not isinstance(self.policy, GaussianMLP):
            raise ValueError(f"entropy_weight must be 0 unless the policy is a GaussianMLP, got {self.entropy_weight}")

    def make_optimizers(self) -> list[Optimizer]:
        """Adam for the actor and the critic; betas below the defaults adapt faster to a changing objective."""
        return [
            Adam(net.parameters(), lr=rate, betas=(0.7, 0.95), fused=True)
            for net, rate in ((self.actor, self.learning_rate), (self.critic.value, self.value_learning_rate))
        ]

    def iteration_size(self) -> int:
        """Env steps of an iteration: a window in every world."""
        return self.horizon * self.mdp.num_envs

    def iterate(self) -> dict[str, Metric]:
        """Rolls out one window, and updates first the actor, then the critic."""
        actor_optimizer, value_optimizer = self.optimizers
        rate = max(part_left(self.decay_env_steps, self.env_steps), LEAST_RATE)
        actor_optimizer.param_groups[0]["lr"] = rate * self.learning_rate
        value_optimizer.param_groups[0]["lr"] = rate * self.value_learning_rate

        # Back-propagate through time to the actions; then, in one batch, to the actor's parameters.
        with window_checks():
            scenarios, age = self.next_scenarios()
            window = (self.captured or self.differentiate)(scenarios, age, self.memory)
        trajectory = window.trajectory
        ascent = self.ascent(window)
        gradient, scale = clip_samples(ascent, float("inf") if self.clip_ratio is None else self.clip_ratio)
        loss = partial(self.actor_loss, trajectory, scenarios.action_noise, gradient)
        norms = [self.gradient_step(loss, actor_optimizer, self.max_norm)[1] for _ in range(self.actor_epochs)]
        losses = self.critic.losses(self.mdp, window, self.generator)
        value_losses = [self.gradient_step(loss, value_optimizer, self.max_norm)[0] for loss in losses]
        self.critic.update_target()
        polyak_update(self.policy, self.actor, self.actor_ema)

        # Continue where the window ended. The statistics of the normaliser change only after the updates.
        self.state, self.age, self.memory = window.worlds
        self.env_steps += trajectory.reward.numel()
        if self.policy.normalizer is not None:
            self.policy.normalizer.update(self.observed(trajectory))
        shown = self.critic.value.normalizer
        if shown is not None and shown is not self.policy.normalizer:
            shown.update(trajectory.obs)
        total, self.running_return = running_returns(trajectory.reward, trajectory.ended, self.running_return)
        return {
            **ended_episodes(total, trajectory.ended),
            "reward": trajectory.reward.mean(),
            "value_loss": value_losses[-1],
            "grad_norm": norms[0],
            "learning_rate": rate * self.learning_rate,
            "terminated": trajectory.terminated.float().mean(),
            **gradient_metrics(ascent, scale),
        }

    def next_scenarios(self) -> tuple[Scenarios, Tensor]:
        """States and noises for the next window, and the age of each world's episode, int64 [N]."""
        scenarios, max_age = self.draw(self.generator), self.mdp.max_episode_steps
        if self.iteration == 0:  # random ages, so that not all worlds time out at once
            return scenarios, self.random_integers(max_age)
        # Random truncation, encoded as an age close to the limit.
        time = self.random_integers(self.horizon)
        share = 1.0 - (1.0 - self.truncation_rate) ** self.horizon
        cut = torch.rand(self.mdp.num_envs, generator=self.generator, device=self.mdp.device) < share
        age = torch.where(cut, (max_age - 1 - time).maximum(self.age), self.age)
        return scenarios.starting_from(self.state), age

    def draw(self, generator: torch.Generator) -> Scenarios:
        """Scenarios of one window, with action noise of the policy's size."""
        return Scenarios.draw(self.mdp, self.horizon, generator, action_noise_size=self.policy.noise_size)

    def random_integers(self, below: int) -> Tensor:
        """A random integer in 0, 1, ..., below - 1 for each world: int64 [N]."""
        return torch.randint(below, (self.mdp.num_envs,), generator=self.generator, device=self.mdp.device)

    def differentiate(self, scenarios: Scenarios, age: Tensor, memory: Tensor | None = None) -> DifferentiatedWindow:
        """Rolls out a window, and differentiates the objective.

        Raises: NonFiniteError that names world and time step, if a gradient is not finite.
        """
        options: dict[str, Any] = {"age": age, "memory": memory, "remat": self.remat}
        actor = self.mdp.for_policy(self.actor) if isinstance(self.mdp, ShowsHidden) else self.actor
        return differentiate_window(self.mdp, actor, scenarios, self.objective, **options)

    def observed(self, trajectory: Trajectory) -> Tensor:
        """What the policy observed: [H, N, O]."""
        size = self.mdp.num_observed if isinstance(self.mdp, ShowsHidden) else None
        return trajectory.obs[..., :size]

    def ascent(self, window: DifferentiatedWindow) -> Tensor:
        """dG_t / du_t, or without `undiscount` dG_0 / du_t: [H, N, A]."""
        if not self.undiscount:
            return window.action_gradient
        gradient = window.action_gradient
        weights = discount_weights(window.trajectory.ended, self.gamma * self.actor_lam, gradient.dtype)
        return gradient / weights.unsqueeze(-1)

    def objective(self, trajectory: Trajectory) -> Tensor:
        """Sum of the lambda-returns of every episode's first step in the window."""
        value = self.critic.after(trajectory)
        returns = lambda_returns(trajectory.reward, value, trajectory.ended, self.gamma, self.actor_lam)
        return returns[0].sum() + torch.where(trajectory.ended[:-1], returns[1:], 0.0).sum()

    def actor_loss(self, trajectory: Trajectory, noise: Tensor, gradient: Tensor) -> Tensor:
        """The actor's loss. Before the first update its gradient is minus that of the objective, averaged over samples.

            -g . u_theta + |g|_median / (2 action_step) |u_theta - u|^2 + entropy_weight log p_theta(u_theta)

        Args:
            trajectory: of the window.
            noise: [H, N, Z]; Z may be 0.
            gradient: g, dJ / du, [H, N, A].
        """
        obs, entropy = self.observed(trajectory), 0.0
        if self.entropy_weight > 0:
            assert isinstance(self.actor, GaussianMLP)
            action, log_prob = self.actor.sample(obs, noise)
            entropy = -log_prob.mean()
        else:
            z = noise if noise.shape[-1] else None
            remembers = self.memory.shape[1] > 0
            action = self.actor.replay(obs, z, trajectory.starts, self.memory) if remembers else self.actor(obs, z)
        curvature = gradient.norm(dim=-1).median() / self.action_step
        moved = (action - trajectory.action).square().sum(-1).mean()
        return -(gradient * action).sum(-1).mean() + 0.5 * curvature * moved - self.entropy_weight * entropy

    def training_state(self) -> dict[str, Any]:
        """Adds the data of the latest windows."""
        return {**super().training_state(), "latest": self.critic.saved()}

    def load_training_state(self, saved: Mapping[str, Any]) -> None:
        """Restores what `training_state` returned."""
        super().load_training_state(saved)
        self.critic.load(saved["latest"])
