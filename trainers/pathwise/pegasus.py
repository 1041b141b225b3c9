"""PEGASUS: policy search on fixed scenarios."""

from __future__ import annotations

from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor
from torch.optim import LBFGS, Adam, Optimizer

from diffsim.checks import require
from diffsim.mdp import Scenarios
from diffsim.trainers.algorithm import MDPAlgorithm
from diffsim.trainers.errors import NonFiniteError, UsageError
from diffsim.trainers.experience.rollout import Trajectory, rollout, window_checks
from diffsim.trainers.maths.returns import discount_weights, first_episode
from diffsim.trainers.metrics import Metric
from diffsim.trainers.options import buffer, option
from diffsim.trainers.pathwise.derivative_free import central_differences, coordinate_sweep, with_gradient
from diffsim.trainers.pathwise.reward_gradient import NO_GRADIENT, require_reward_gradient
from diffsim.trainers.pathwise.window import explain_nonfinite

LEARNING_RATES = {"adam": 3e-3, "lbfgs": 1.0, "coordinate": 0.1}
LINE_SEARCH_EVALUATIONS = 26  # torch's default, 1.25 per iteration, ends each search after its first trial


class Pegasus(MDPAlgorithm):
    """Maximises the mean return over m fixed scenarios: a deterministic function of the parameters.

        J(theta) = 1 / m * sum_i sum_t gamma^t R(s_t, u_t, s_{t+1}),   u_t = pi_theta(h(s_t), z_it),
        s_{t+1} = f(s_t, u_t, w_it)

    A scenario i is an initial state and all noises w, z that follow. Only its first episode counts, at most `horizon`
    steps. The return on these scenarios exceeds that on fresh ones; this gap shrinks as m grows. J is discontinuous
    where the end of an episode moves to another step. Derivatives do not include these jumps; finite differences and
    coordinate ascent do.

    The policy's observation statistics are fixed after the first roll-outs. The MDP must be differentiable if
    `gradient` is "pathwise"; its N copies are the batch.

    Source: Ng & Jordan (2000), "PEGASUS: a policy search method for large MDPs and POMDPs".
    """

    family = "pathwise"
    takes_recurrent = True

    horizon: int | None = option("H, steps per scenario; the task's episode length if None.", ">= 1", default=None)
    num_scenarios: int | None = option("m at the start, a multiple of N; N if None.", ">= 1", default=None)
    optimizer: Literal["adam", "lbfgs", "coordinate"] = option(
        '"lbfgs" with strong-Wolfe line search, "adam", or "coordinate": changes one parameter at a time, for '
        "policies with few parameters.",
        default="lbfgs",
    )
    gradient: Literal["pathwise", "finite_differences"] = option(
        '"pathwise" by back-propagation through time, or "finite_differences", two returns per parameter.',
        default="pathwise",
    )
    learning_rate: float | None = option(
        "step size: Adam's (if None, 3e-3), the first trial of a line search (1), or the first step of each "
        "parameter (0.1).",
        "> 0",
        default=None,
    )
    perturbation: float = option("change of each parameter for finite differences.", "> 0", default=1e-2)
    gamma: float = option("discount.", "in (0, 1]", default=1.0)
    gap_every: int = option("iterations between measurements of the gap.", ">= 1", default=10)
    num_fresh: int = option("fresh scenarios per measurement, rounded up to a multiple of N.", ">= 1", default=64)
    max_gap: float | None = option(
        "m doubles whenever a larger gap is measured, in units of return; m is constant if None.", ">= 0", default=None
    )
    max_scenarios: int = option("largest m.", default=1024)

    num_batches: Tensor = buffer()
    coordinate_steps: Tensor = buffer()

    def setup(self) -> None:
        """Sets the number of scenarios and their seed."""
        mdp = self.mdp
        self.rate = LEARNING_RATES[self.optimizer] if self.learning_rate is None else self.learning_rate
        count = mdp.num_envs if self.num_scenarios is None else self.num_scenarios
        require(count % mdp.num_envs == 0, "num_scenarios", f"a multiple of num_envs = {mdp.num_envs}", count)
        if self.max_gap is not None:
            require(self.max_scenarios >= count, "max_scenarios", f">= num_scenarios = {count}", self.max_scenarios)
        self.trained = [p for p in self.policy.parameters() if p.requires_grad]
        self.scenario_seed = int(torch.randint(2**31, (), generator=self.generator, device=mdp.device))
        self.scenarios: list[Scenarios] = []
        self.returns_seen: list[Tensor] = []
        self.batches = count // mdp.num_envs
        self.register_buffer("num_batches", torch.tensor(self.batches))
        self.register_load_state_dict_post_hook(_read_batches)
        numbers = sum(p.numel() for p in self.trained)
        self.register_buffer("coordinate_steps", torch.full((numbers,), self.rate, device=mdp.device))

    def check(self) -> None:
        """Checks that the reward has a gradient, if the algorithm uses it."""
        if self.gradient == "pathwise" and self.optimizer != "coordinate":
            require_reward_gradient(self.mdp)

    def mdp_changed(self) -> None:
        """Draws the scenarios again, from the new data by the same random numbers, and resets the optimizer.

        The state of L-BFGS approximates the curvature of the old J.
        """
        self.scenarios = []
        for optimizer in self.optimizers:
            optimizer.state.clear()

    def make_optimizers(self) -> list[Optimizer]:
        """Adam, or L-BFGS with one direction and one line search per iteration; none for coordinate ascent."""
        if self.optimizer == "adam":
            return [Adam(self.trained, lr=self.rate)]
        if self.optimizer == "lbfgs":
            options = {"max_iter": 1, "max_eval": LINE_SEARCH_EVALUATIONS, "line_search_fn": "strong_wolfe"}
            return [LBFGS(self.trained, lr=self.rate, **options)]
        return []

    def iterate(self) -> dict[str, Metric]:
        """Increases J by one step of Adam, a line search, or a sweep over the coordinates. Then measures the gap."""
        own = self.own_scenarios()
        self.fit_normalizer_once(own)
        self.returns_seen = []
        if self.optimizer == "coordinate":
            value = coordinate_sweep(self.value, self.trained, self.coordinate_steps)
            metrics: dict[str, Metric] = {"objective": value}
        else:
            loss, norm = self.gradient_step(self.loss, self.optimizers[0])
            metrics = {"objective": -loss, "grad_norm": norm}
        metrics["return"] = torch.stack(self.returns_seen[: len(own)]).mean()
        metrics["scenarios"] = float(len(own) * self.mdp.num_envs)
        if self.iteration % self.gap_every == 0:
            metrics.update(self.measure_gap())
        return metrics

    def loss(self) -> Tensor:
        """-J, with its gradient with respect to the policy's parameters."""
        if self.gradient == "finite_differences":
            value = self.value()
            slope = central_differences(self.value, self.trained, self.perturbation)
            return -with_gradient(value, self.trained, slope)
        total, gradient = [], [torch.zeros_like(p) for p in self.trained]
        for scenarios in self.own_scenarios():  # one graph at a time
            with window_checks() as checks:
                value = self.objective(self.roll_out(scenarios))
                if not value.requires_grad:
                    raise UsageError(NO_GRADIENT)
                slope = torch.autograd.grad(value, self.trained, materialize_grads=True)
                finite = torch.stack([g.isfinite().all() for g in slope]).all()
                checks.add(~finite, partial(self.refuse, scenarios))
            total.append(value.detach())
            gradient = [g + s for g, s in zip(gradient, slope, strict=True)]
        mean = [g / len(total) for g in gradient]
        return -with_gradient(torch.stack(total).mean(), self.trained, mean)

    def refuse(self, scenarios: Scenarios) -> None:
        """Raises the error of a gradient that is not finite."""
        where = explain_nonfinite(self.mdp, self.policy, scenarios, self.objective)
        raise NonFiniteError(f"the gradient must be finite; {where}")

    @torch.no_grad()
    def value(self) -> Tensor:
        """J."""
        with window_checks():
            own = self.own_scenarios()
            return torch.stack([self.objective(self.roll_out(scenarios)) for scenarios in own]).mean()

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
        """The m scenarios, in batches of N. The seed determines them; a larger m only adds scenarios."""
        if len(self.scenarios) != self.batches:
            generator = torch.Generator(self.mdp.device).manual_seed(self.scenario_seed)
            with window_checks():
                self.scenarios = [self.draw(generator) for _ in range(self.batches)]
        return self.scenarios

    def draw(self, generator: torch.Generator) -> Scenarios:
        """A batch of N scenarios, with action noise of the policy's size."""
        horizon = self.mdp.max_episode_steps if self.horizon is None else self.horizon
        noise_size = self.policy.noise_size
        return Scenarios.draw(self.mdp, horizon, generator, action_noise_size=noise_size, num_resets=1)

    @torch.no_grad()
    def fit_normalizer_once(self, own: list[Scenarios]) -> None:
        """Fits the observation statistics to one roll-out of each scenario. They stay fixed, so that J does."""
        if self.policy.normalizer is not None and self.iteration == 0:
            seen = [self.roll_out(scenarios).obs for scenarios in own]
            for obs in seen:
                self.policy.normalizer.update(obs)

    @torch.no_grad()
    def measure_gap(self) -> dict[str, Metric]:
        """Mean returns on own and on fresh scenarios, their gap and its standard error. Also calls `grow`."""
        batches = -(-self.num_fresh // self.mdp.num_envs)
        own, fresh = self.own_scenarios(), (self.draw(self.generator) for _ in range(batches))
        self.returns_seen = []
        with window_checks():
            for scenarios in (*own, *fresh):
                self.roll_out(scenarios)
        own_return = torch.cat(self.returns_seen[: len(own)])
        fresh_return = torch.cat(self.returns_seen[len(own) :])
        gap = own_return.mean() - fresh_return.mean()
        # The standard deviation of fresh returns is used for both: there may be only one own scenario.
        spread = fresh_return.std(correction=min(1, len(fresh_return) - 1))
        error = spread * (1 / len(own_return) + 1 / len(fresh_return)) ** 0.5
        self.grow(gap)
        return {"own_return": own_return.mean(), "fresh_return": fresh_return.mean(), "gap": gap, "gap_error": error}

    def grow(self, gap: Tensor) -> None:
        """Doubles m, up to its largest value, if the gap is too large. L-BFGS then restarts, because J has changed."""
        largest = self.max_scenarios // self.mdp.num_envs
        if self.max_gap is None or gap <= self.max_gap or self.batches >= largest:
            return
        self.batches = min(2 * self.batches, largest)
        self.num_batches.fill_(self.batches)
        if self.optimizer == "lbfgs":
            self.optimizers[0].state.clear()


def _read_batches(algorithm: Any, _: object) -> None:
    """Keeps the number of batches on the host too: to read it from a GPU would wait for it."""
    algorithm.batches = int(algorithm.num_batches)
