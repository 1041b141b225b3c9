"""PEGASUS: policy search on fixed scenarios."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.optim import LBFGS, Adam, Optimizer

from diffsim.mdp import MDP, Scenarios
from diffsim.policies import Policy
from diffsim.trainers.algorithm import Algorithm, Evaluator
from diffsim.trainers.errors import NonFiniteError, UsageError
from diffsim.trainers.experience.rollout import Trajectory, rollout
from diffsim.trainers.maths.returns import discount_weights, first_episode
from diffsim.trainers.pathwise.derivative_free import central_differences, coordinate_sweep, with_gradient
from diffsim.trainers.pathwise.nonfinite import explain_nonfinite
from diffsim.trainers.pathwise.reward_slope import NO_SLOPE, require_sloped_reward

LEARNING_RATES = {"adam": 3e-3, "lbfgs": 1.0, "coordinate": 0.1}
LINE_SEARCH_EVALUATIONS = 26  # torch's own default, 1.25 per iteration, would end each search at its first trial


class Pegasus(Algorithm):
    """Climbs the mean return over m scenarios that never change: a deterministic function of the parameters.

        J(theta) = 1 / m * sum_i sum_t gamma^t R(s_t, u_t, s_{t+1}),   u_t = pi_theta(h(s_t), z_it),
        s_{t+1} = f(s_t, u_t, w_it)

    A scenario i is an initial state and all noises w, z that follow. Only its first episode counts, at most `horizon`
    steps. Return on own scenarios exceeds that on fresh ones; this gap falls as m grows. Where an episode's end moves
    to another step J jumps: derivatives do not see that, finite differences and coordinate ascent do.

    Args:
        mdp: dynamics, reward and observation; differentiable for `gradient` "pathwise". Its N copies are the batch.
        policy: what is trained. Its observation statistics are those of the first roll-outs, fixed from then on.
        horizon: H, steps per scenario; the task's episode length if None.
        num_scenarios: m at the start, a multiple of N; N if None.
        optimizer: "lbfgs" with strong-Wolfe line search, "adam", or "coordinate": a move of each parameter in turn, for
            policies with few.
        gradient: "pathwise" by back-propagation through time, or "finite_differences", two returns per parameter.
        learning_rate: step size, above 0: Adam's (if None, 3e-3), the first that a line search tries (1), or the first
            move of each coordinate (0.1).
        perturbation: move of each parameter for finite differences, above 0.
        gamma: discount, in (0, 1].
        gap_every: iterations between measurements of the gap, at least 1.
        num_fresh: fresh scenarios for each of them, at least 1, rounded up to a multiple of N.
        max_gap: m doubles whenever a larger gap is measured, in units of return; m stays if None.
        max_scenarios: m grows no further than this.
        seed: of the scenarios, at least 0.
        evaluation: from the policy to metrics.

    Source: Ng & Jordan (2000), "PEGASUS: a policy search method for large MDPs and POMDPs".
    """

    num_batches: Tensor
    coordinate_steps: Tensor

    def __init__(
        self,
        mdp: MDP,
        policy: Policy,
        *,
        horizon: int | None = None,
        num_scenarios: int | None = None,
        optimizer: Literal["adam", "lbfgs", "coordinate"] = "lbfgs",
        gradient: Literal["pathwise", "finite_differences"] = "pathwise",
        learning_rate: float | None = None,
        perturbation: float = 1e-2,
        gamma: float = 1.0,
        gap_every: int = 10,
        num_fresh: int = 64,
        max_gap: float | None = None,
        max_scenarios: int = 1024,
        seed: int = 0,
        evaluation: Evaluator | None = None,
    ) -> None:
        super().__init__(policy, seed=seed, device=mdp.device, evaluation=evaluation)
        for name, choice, valid in (
            ("optimizer", optimizer, tuple(LEARNING_RATES)),
            ("gradient", gradient, ("pathwise", "finite_differences")),
        ):
            if choice not in valid:
                raise ValueError(f"{name} must be one of {', '.join(valid)}, got {choice!r}")
        self.horizon = mdp.max_episode_steps if horizon is None else horizon
        self.learning_rate = LEARNING_RATES[optimizer] if learning_rate is None else learning_rate
        num_scenarios = mdp.num_envs if num_scenarios is None else num_scenarios
        counts = {
            "horizon": self.horizon,
            "num_scenarios": num_scenarios,
            "gap_every": gap_every,
            "num_fresh": num_fresh,
        }
        for name, count in counts.items():
            if count < 1:
                raise ValueError(f"{name} must be >= 1, got {count}")
        for name, number in {"learning_rate": self.learning_rate, "perturbation": perturbation}.items():
            if not number > 0:
                raise ValueError(f"{name} must be > 0, got {number}")
        if not 0 < gamma <= 1:
            raise ValueError(f"gamma must be in (0, 1], got {gamma}")
        if max_gap is not None and not max_gap >= 0:
            raise ValueError(f"max_gap must be >= 0, got {max_gap}")
        if num_scenarios % mdp.num_envs:
            raise ValueError(f"num_scenarios must be a multiple of num_envs = {mdp.num_envs}, got {num_scenarios}")
        if max_gap is not None and max_scenarios < num_scenarios:
            raise ValueError(f"max_scenarios must be >= num_scenarios = {num_scenarios}, got {max_scenarios}")
        self.mdp, self.gamma, self.optimizer, self.gradient = mdp, gamma, optimizer, gradient
        self.perturbation, self.gap_every = perturbation, gap_every
        self.num_fresh, self.max_gap, self.max_scenarios = num_fresh, max_gap, max_scenarios
        self.parameters_climbed = [p for p in policy.parameters() if p.requires_grad]
        self.scenario_seed = int(torch.randint(2**31, (), generator=self.generator, device=mdp.device))
        self.scenarios: list[Scenarios] = []
        self.returns_seen: list[Tensor] = []
        self.register_buffer("num_batches", torch.tensor(num_scenarios // mdp.num_envs))
        numbers = sum(p.numel() for p in self.parameters_climbed)
        self.register_buffer("coordinate_steps", torch.full((numbers,), self.learning_rate, device=mdp.device))

    def check(self) -> None:
        """The reward must have a gradient, if that is what is climbed."""
        if self.gradient == "pathwise" and self.optimizer != "coordinate":
            require_sloped_reward(self.mdp)

    def configure_optimizers(self) -> Optimizer | None:
        """Adam, or L-BFGS with one direction and one line search per iteration; none for coordinate ascent."""
        if self.optimizer == "adam":
            return Adam(self.parameters_climbed, lr=self.learning_rate)
        if self.optimizer == "lbfgs":
            options = {"max_iter": 1, "max_eval": LINE_SEARCH_EVALUATIONS, "line_search_fn": "strong_wolfe"}
            return LBFGS(self.parameters_climbed, lr=self.learning_rate, **options)
        return None

    def iterate(self) -> dict[str, Tensor | float]:
        """Takes one step up J: of Adam, a line search, or a sweep over the coordinates. Then measures the gap."""
        own = self.own_scenarios()
        self.fit_normalizer_once(own)
        self.returns_seen = []
        if self.optimizer == "coordinate":
            value = coordinate_sweep(self.value, self.parameters_climbed, self.coordinate_steps)
            metrics: dict[str, Tensor | float] = {"objective": value}
        else:
            optimizer = self.optimizers()
            assert isinstance(optimizer, Optimizer)
            loss, norm = self.gradient_step(self.loss, optimizer)
            metrics = {"objective": -loss, "grad_norm": norm}
        metrics["return"] = torch.stack(self.returns_seen[: len(own)]).mean()
        metrics["scenarios"] = float(len(own) * self.mdp.num_envs)
        if self.iteration % self.gap_every == 0:
            metrics.update(self.measure_gap())
        return metrics

    def loss(self) -> Tensor:
        """-J, with its gradient by the policy's parameters."""
        if self.gradient == "finite_differences":
            value = self.value()
            slope = central_differences(self.value, self.parameters_climbed, self.perturbation)
            return -with_gradient(value, self.parameters_climbed, slope)
        total, gradient = [], [torch.zeros_like(p) for p in self.parameters_climbed]
        for scenarios in self.own_scenarios():  # one graph at a time
            value = self.objective(self.roll_out(scenarios))
            if not value.requires_grad:
                raise UsageError(NO_SLOPE)
            slope = torch.autograd.grad(value, self.parameters_climbed, materialize_grads=True)
            if not all(g.isfinite().all() for g in slope):
                where = explain_nonfinite(self.mdp, self.policy, scenarios, self.objective)
                raise NonFiniteError(f"the gradient must be finite; {where}")
            total.append(value.detach())
            gradient = [g + s for g, s in zip(gradient, slope, strict=True)]
        mean = [g / len(total) for g in gradient]
        return -with_gradient(torch.stack(total).mean(), self.parameters_climbed, mean)

    @torch.no_grad()
    def value(self) -> Tensor:
        """J."""
        return torch.stack([self.objective(self.roll_out(scenarios)) for scenarios in self.own_scenarios()]).mean()

    def objective(self, trajectory: Trajectory) -> Tensor:
        """Discounted return of the first episodes, averaged over a batch of scenarios."""
        weights = discount_weights(trajectory.ended, self.gamma).to(trajectory.reward)
        return (weights * first_episode(trajectory.ended) * trajectory.reward).sum(0).mean()

    def roll_out(self, scenarios: Scenarios) -> Trajectory:
        """Rolls out a batch of scenarios; counts its steps, and keeps its undiscounted returns."""
        trajectory, _ = rollout(self.mdp, self.policy, scenarios)
        self.env_steps += trajectory.reward.numel()
        self.returns_seen.append((trajectory.reward * first_episode(trajectory.ended)).detach().sum(0))
        return trajectory

    def own_scenarios(self) -> list[Scenarios]:
        """The m scenarios, in batches of N: the same for the same seed, and those of a smaller m among them."""
        if len(self.scenarios) != self.num_batches:
            generator = torch.Generator(self.mdp.device).manual_seed(self.scenario_seed)
            self.scenarios = [self.draw(generator) for _ in range(int(self.num_batches))]
        return self.scenarios

    def draw(self, generator: torch.Generator) -> Scenarios:
        """A batch of N scenarios, with the noise this policy takes."""
        noise_size = self.policy.noise_size
        return Scenarios.draw(self.mdp, self.horizon, generator, action_noise_size=noise_size, num_resets=1)

    @torch.no_grad()
    def fit_normalizer_once(self, own: list[Scenarios]) -> None:
        """Lets the policy see one roll-out of each scenario, and no more: a fixed J needs fixed statistics."""
        if self.policy.normalizer is not None and self.iteration == 0:
            seen = [self.roll_out(scenarios).obs for scenarios in own]
            for obs in seen:
                self.policy.normalizer.update(obs)

    @torch.no_grad()
    def measure_gap(self) -> dict[str, Tensor | float]:
        """Mean returns on own and on fresh scenarios, their gap and its standard error; then m grows if it must."""
        batches = -(-self.num_fresh // self.mdp.num_envs)
        own, fresh = self.own_scenarios(), (self.draw(self.generator) for _ in range(batches))
        self.returns_seen = []
        for scenarios in (*own, *fresh):
            self.roll_out(scenarios)
        own_return = torch.cat(self.returns_seen[: len(own)])
        fresh_return = torch.cat(self.returns_seen[len(own) :])
        gap = own_return.mean() - fresh_return.mean()
        # The spread of fresh returns stands in for that of our own, of which there may be one only.
        spread = fresh_return.std(correction=min(1, len(fresh_return) - 1))
        error = spread * (1 / len(own_return) + 1 / len(fresh_return)) ** 0.5
        self.grow(gap)
        return {"own_return": own_return.mean(), "fresh_return": fresh_return.mean(), "gap": gap, "gap_error": error}

    def grow(self, gap: Tensor) -> None:
        """Doubles m if the gap is too wide, as far as it may grow. L-BFGS then forgets the curvature of the old J."""
        largest = self.max_scenarios // self.mdp.num_envs
        if self.max_gap is None or gap <= self.max_gap or self.num_batches >= largest:
            return
        self.num_batches.copy_(torch.clamp(2 * self.num_batches, max=largest))
        if self.optimizer == "lbfgs":
            (optimizer,) = self.all_optimizers()
            optimizer.state.clear()
