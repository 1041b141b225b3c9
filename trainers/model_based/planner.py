"""Model predictive control by the cross-entropy method."""

from __future__ import annotations

import torch
from torch import Tensor

from diffsim.checks import check_value, require
from diffsim.models import LearnedMDP
from diffsim.policies import Policy, TanhBox


class CEMPlanner(Policy):
    """Plans H steps ahead in a learned model at every observation, and takes the first action of the plan.

        sample     C plans u_{0:H-1} = mean + std * z, clipped to the bounds
        evaluate   the mean return of each plan over P particles, each simulated by one member of the ensemble
        refit      mean and std to the E best plans; repeat

    The initial mean is the last plan shifted by one step, if there is one for each of the observations, else zero. The
    random numbers are drawn once and used for every plan, so that an action is a deterministic function of observation,
    model and last plan.

    Args:
        mdp: the learned model.
        horizon: H, at least 1.
        num_plans: C, at least 2.
        num_best: E, in [2, C].
        num_particles: P, at least 1.
        rounds: number of refits, at least 1.
        gamma: discount, in (0, 1].
        initial_std: standard deviation of the first plans, in units of the actions' half widths, above 0.
        warm_start: start from the last plan; otherwise every plan starts from zero.
        seed: of the random numbers, at least 0.

    Attributes:
        last_plan: [H, N, A], plan for the last N observations, in units of the actions' half widths; None at first.

    Source: Chua et al. (2018), PETS, with trajectory sampling TS-infinity; de Boer et al. (2005), "A tutorial on the
    cross-entropy method".
    """

    noise_size = 0
    plan_noise: Tensor
    model_noise: Tensor
    members: Tensor

    def __init__(
        self,
        mdp: LearnedMDP,
        *,
        horizon: int = 15,
        num_plans: int = 100,
        num_best: int = 10,
        num_particles: int = 4,
        rounds: int = 3,
        gamma: float = 1.0,
        initial_std: float = 0.5,
        warm_start: bool = True,
        seed: int = 0,
    ) -> None:
        super().__init__(mdp.observation_space, mdp.action_space, normalize=False)
        for name, value, rule in (
            ("horizon", horizon, ">= 1"),
            ("num_plans", num_plans, ">= 2"),
            ("num_best", num_best, ">= 2"),
            ("num_particles", num_particles, ">= 1"),
            ("rounds", rounds, ">= 1"),
            ("gamma", gamma, "in (0, 1]"),
            ("initial_std", initial_std, "> 0"),
            ("seed", seed, ">= 0"),
        ):
            check_value(name, value, rule)
        memory_size = mdp.model.memory_size
        require(memory_size == 0, "memory_size", "0 to plan from an observation", memory_size)
        require(num_best <= num_plans, "num_best", f"<= num_plans = {num_plans}", num_best)
        self.initial_std, self.warm_start = initial_std, warm_start
        self.last_plan: Tensor | None = None
        self.horizon, self.num_plans, self.num_best = horizon, num_plans, num_best
        self.num_particles, self.rounds, self.gamma = num_particles, rounds, gamma
        self.mdp, self.model = mdp, mdp.model
        self.squash.to(mdp.device, mdp.dtype)
        generator = torch.Generator().manual_seed(seed)

        def draw(*shape: int) -> Tensor:
            return torch.randn(shape, generator=generator).to(mdp.device, mdp.dtype)

        self.register_buffer("plan_noise", draw(rounds, horizon, num_plans, self.action_size))
        self.register_buffer("model_noise", draw(horizon, num_particles, mdp.noise_size))
        self.register_buffer("members", torch.rand(num_particles, generator=generator).to(mdp.device))

    @torch.no_grad()
    def forward(self, obs: Tensor, noise: Tensor | None = None) -> Tensor:
        """Actions [..., A] for `obs` [..., O]; `noise` must be None or empty."""
        if noise is not None and noise.shape[-1] != 0:
            raise ValueError(f"noise must be None for a planner, got shape {tuple(noise.shape)}")
        rows = self.features(obs).reshape(-1, self.obs_size)
        return self.plan(rows)[0].reshape(*obs.shape[:-1], self.action_size)

    def plan(self, obs: Tensor) -> Tensor:
        """Computes a plan for each of `obs` [N, O]: [H, N, A]. Stores it in `last_plan`."""
        squash = self.squash
        assert isinstance(squash, TanhBox)
        center, half_width = squash.center, squash.half_width
        mean = obs.new_zeros(self.horizon, len(obs), 1, self.action_size)
        if self.last_plan is not None and self.last_plan.shape[1] == len(obs):
            mean[:-1] = self.last_plan[1:].unsqueeze(2)
        std = torch.full_like(mean, self.initial_std)
        for z in self.plan_noise:
            plans = (mean + std * z.unsqueeze(1)).clamp(-1.0, 1.0)
            index = self.returns(obs, squash.clamp(center + half_width * plans)).topk(self.num_best, dim=1).indices
            best = plans.gather(2, index[None, :, :, None].expand(self.horizon, -1, -1, self.action_size))
            mean, std = best.mean(2, keepdim=True), best.std(2, keepdim=True)
        plan = mean.squeeze(2)
        self.last_plan = plan if self.warm_start else None
        return squash.clamp(center + half_width * plan)

    def reset(self, ended: Tensor | None = None) -> None:
        """Resets the last plans of the copies whose episodes `ended`, bool [N]; of all if None."""
        if ended is None or self.last_plan is None:
            self.last_plan = None
        else:
            self.last_plan = torch.where(ended.to(self.last_plan.device)[:, None], 0.0, self.last_plan)

    def returns(self, obs: Tensor, plans: Tensor) -> Tensor:
        """Mean discounted return of `plans` [H, N, C, A] from `obs` [N, O] until termination: [N, C]."""
        mdp, particles = self.mdp, self.num_particles
        shape = (len(obs), plans.shape[2], particles)
        count, elites = shape[0] * shape[1], self.model.elites
        member = elites[(self.members * len(elites)).long().clamp(max=len(elites) - 1)].repeat(count)
        state = mdp.state(obs.repeat_interleave(shape[1] * particles, dim=0), member)
        total = obs.new_zeros(count * particles)
        alive = torch.ones_like(total, dtype=torch.bool)
        for time, plan in enumerate(plans):
            action = plan.reshape(count, -1).repeat_interleave(particles, dim=0)
            noise = self.model_noise[time].repeat(count, 1)
            reached = mdp.transition(state, action, noise if mdp.noise_size else None)
            total = total + self.gamma**time * torch.where(alive, mdp.reward(state, action, reached), 0.0)
            alive = alive & ~mdp.terminal(reached)
            state = reached
        return total.reshape(shape).mean(2)
