"""Measures all estimators of the policy gradient on one policy, at several horizons."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from diffsim.mdp import MDP, Scenarios
from diffsim.policies import GaussianMLP
from diffsim.trainers.errors import NonFiniteError
from diffsim.trainers.experience.rollout import Trajectory, rollout
from diffsim.trainers.gradients.black_box import Baseline, Form, finite_difference_gradients, likelihood_ratio_gradients
from diffsim.trainers.gradients.pathwise import TimedValue, pathwise_gradients, total_propagation, windowed_gradients
from diffsim.trainers.gradients.statistics import GradientComparison, GradientMoments, compare_gradients
from diffsim.trainers.gradients.value import fit_value
from diffsim.trainers.maths.estimators import draw_directions, mix_by_variance
from diffsim.trainers.maths.returns import first_episode

PATHWISE, WINDOWS = "pathwise", "pathwise + value"
LIKELIHOOD_RATIOS: dict[str, tuple[Form, Baseline]] = {
    "REINFORCE": ("reinforce", "none"),
    "REINFORCE, average": ("reinforce", "average"),
    "REINFORCE, optimal": ("reinforce", "optimal"),
    "GPOMDP": ("gpomdp", "none"),
    "GPOMDP, average": ("gpomdp", "average"),
    "GPOMDP, optimal": ("gpomdp", "optimal"),
    "GPOMDP, time": ("gpomdp", "time"),
    "GPOMDP, value": ("gpomdp", "value"),
}
MIXTURE, TOTAL_PROPAGATION = "mixture", "total propagation"
COMMON, INDEPENDENT = "differences, common noise", "differences, fresh noise"
ESTIMATORS = (PATHWISE, WINDOWS, *LIKELIHOOD_RATIOS, MIXTURE, TOTAL_PROPAGATION, COMMON, INDEPENDENT)
VALUE_SAMPLES = 2048  # roll-outs that the value is fitted to
TICKS_PER_BATCH = 12  # a batch of all estimators takes about 12 times as long as one roll-out with a likelihood ratio


class Sample(NamedTuple):
    """One gradient estimate per copy.

    Attributes:
        gradients: [N, D].
        seconds: time of all of them; processor time on a CPU.
        env_steps: env steps of all of them.
    """

    gradients: Tensor
    seconds: float
    env_steps: int


class Row(NamedTuple):
    """Measurements of one estimator at one horizon, with one seed.

    Attributes:
        seed: of weights and noise.
        horizon: H.
        estimator: its name in `ESTIMATORS`.
        comparison: with the reference.
        gradient_norm: |g_ref|, or nan if noise dominates it.
        seconds: per sample, of the median batch.
        env_steps: per sample.
    """

    seed: int
    horizon: int
    estimator: str
    comparison: GradientComparison
    gradient_norm: float
    seconds: float
    env_steps: float


@dataclass(frozen=True)
class Experiment:
    """A policy, an environment and the settings of the estimators.

    Args:
        mdp: N copies.
        policy: policy whose gradient is estimated.
        gamma: discount, in (0, 1].
        window: steps per window of the estimator with a value.
        difference_step: step length of finite differences, in parameter space.
        samples: number of samples of each estimator, a multiple of N.
        reference_samples: number of samples of the reference, a multiple of N.
        generator: source of all randomness, on the MDP's device.
        tick: called with the number of env steps per copy, to report progress.
    """

    mdp: MDP
    policy: GaussianMLP
    gamma: float
    window: int
    difference_step: float
    samples: int
    reference_samples: int
    generator: torch.Generator
    tick: Callable[[int], None] = lambda env_steps: None

    def run(self, horizon: int, seed: int) -> Iterator[Row]:
        """Measures every estimator at one horizon.

        The reference is GPOMDP with the value as baseline. It is unbiased for all dynamics, also where returns are
        discontinuous, and has the least variance of the unbiased estimators.

        Raises: NonFiniteError if a roll-out or a gradient is not finite.
        """
        value = self.fit_value(horizon)
        reference = GradientMoments()
        for _ in range(self.reference_samples // self.mdp.num_envs):
            scenarios = self.draw(horizon)
            reference.add(self.likelihood_ratio(self.roll_out(scenarios), scenarios, "GPOMDP, value", value))
            self.tick(horizon)
        self.sample(1, value)  # loads kernels and modules before the measurement of time
        moments = {name: GradientMoments() for name in ESTIMATORS}
        samples: dict[str, list[Sample]] = {name: [] for name in ESTIMATORS}
        for _ in range(self.samples // self.mdp.num_envs):
            for name, sample in self.sample(horizon, value).items():
                if not sample.gradients.isfinite().all():
                    raise NonFiniteError(f"gradients must be finite, those of {name} are not at horizon {horizon}")
                moments[name].add(sample.gradients)
                samples[name].append(sample._replace(gradients=sample.gradients[:0]))
            self.tick(TICKS_PER_BATCH * horizon)
        for name in ESTIMATORS:
            seconds = statistics.median(sample.seconds for sample in samples[name]) / self.mdp.num_envs
            env_steps = samples[name][0].env_steps / self.mdp.num_envs
            yield Row(
                seed, horizon, name, compare_gradients(moments[name], reference), reference.norm, seconds, env_steps
            )

    def sample(self, horizon: int, value: TimedValue) -> dict[str, Sample]:
        """One estimate per copy by every estimator."""
        scenarios, others = self.draw(horizon), self.draw(horizon)
        size = sum(p.numel() for p in self.policy.parameters())
        count = self.mdp.num_envs
        directions = draw_directions("sphere", count, size, self.generator, self.mdp.dtype)
        setting = (self.mdp, self.policy, scenarios)
        samples = {}

        def measure(name: str, function: Callable[[], Tensor], roll_outs: int, seconds: float = 0.0) -> None:
            gradients, own = self.timed(function)
            samples[name] = Sample(gradients, seconds + own, roll_outs * count * horizon)

        measure(PATHWISE, lambda: pathwise_gradients(*setting, self.gamma), 1)
        measure(WINDOWS, lambda: windowed_gradients(*setting, self.gamma, self.window, value), 1)
        trajectory, shared = self.timed(lambda: self.roll_out(scenarios))
        for name in LIKELIHOOD_RATIOS:
            measure(name, lambda name=name: self.likelihood_ratio(trajectory, scenarios, name, value), 1, shared)
        parts = [samples[name] for name in (PATHWISE, "GPOMDP, time")]
        used = parts[0].seconds + parts[1].seconds - shared  # both use the same roll-out
        measure(MIXTURE, lambda: mix_by_variance(*(part.gradients for part in parts)), 1, used)
        measure(TOTAL_PROPAGATION, lambda: total_propagation(*setting, self.gamma), 1)
        for name, second in ((COMMON, scenarios), (INDEPENDENT, others)):
            arguments = (*setting, second, self.gamma, directions, self.difference_step)
            measure(name, lambda arguments=arguments: finite_difference_gradients(*arguments), 2)
        return samples

    def likelihood_ratio(self, trajectory: Trajectory, scenarios: Scenarios, name: str, value: TimedValue) -> Tensor:
        """Gradients by one of `LIKELIHOOD_RATIOS`: [N, D]."""
        kind = LIKELIHOOD_RATIOS[name]
        return likelihood_ratio_gradients(
            self.policy, trajectory, scenarios.action_noise, self.gamma, *kind, value=value
        )

    def fit_value(self, horizon: int) -> TimedValue:
        """Fits the value of the baseline and the windows, to separate roll-outs."""
        parts = []
        for _ in range(-(-VALUE_SAMPLES // self.mdp.num_envs)):
            parts.append(self.roll_out(self.draw(horizon)))
            self.tick(horizon)
        obs, reward, ended = (
            torch.cat([getattr(part, name) for part in parts], dim=1) for name in ("obs", "reward", "ended")
        )
        return fit_value(obs, reward, first_episode(ended), ended, self.gamma, self.generator)

    def draw(self, horizon: int) -> Scenarios:
        """Draws initial states and noise."""
        size = self.policy.noise_size
        return Scenarios.draw(self.mdp, horizon, self.generator, action_noise_size=size, num_resets=1)

    @torch.no_grad()
    def roll_out(self, scenarios: Scenarios) -> Trajectory:
        """Rolls out the policy without a graph."""
        return rollout(self.mdp, self.policy, scenarios)[0]

    def timed(self, function: Callable[[], object]) -> tuple:
        """The result of `function` and its seconds: processor time on a CPU, wall-clock time on a GPU."""
        on_gpu = self.mdp.device.type == "cuda"
        clock = time.perf_counter if on_gpu else time.process_time  # excludes other processes on the CPU
        synchronize = (lambda: torch.cuda.synchronize(self.mdp.device)) if on_gpu else (lambda: None)
        synchronize()
        start = clock()
        result = function()
        synchronize()
        return result, clock() - start


def total_ticks(horizons: list[int], samples: int, reference_samples: int, num_envs: int) -> int:
    """Sum of all numbers passed to `tick` for one seed."""
    batches = -(-VALUE_SAMPLES // num_envs) + reference_samples // num_envs
    batches += TICKS_PER_BATCH * samples // num_envs
    return batches * sum(horizons)
