"""Model-based policy optimization: an off-policy algorithm that learns from roll-outs of a learned model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from diffsim.checks import require
from diffsim.mdp import Scenarios
from diffsim.models import Data, from_windows
from diffsim.policies import Policy
from diffsim.trainers.experience.replay_buffer import ReplayBuffer
from diffsim.trainers.experience.rollout import rollout
from diffsim.trainers.metrics import Metric
from diffsim.trainers.model_based.imagined_replay import ImaginedReplay
from diffsim.trainers.model_based.model_learning import ModelLearning, accepted, one_of
from diffsim.trainers.options import given, option
from diffsim.trainers.value_gradient.ddpg import DDPG
from diffsim.trainers.value_gradient.off_policy import OffPolicy
from diffsim.trainers.value_gradient.optimizer_step import mean_metrics
from diffsim.trainers.value_gradient.sac import SAC
from diffsim.trainers.value_gradient.td3 import TD3

LEARNERS: dict[str, type[OffPolicy]] = {"SAC": SAC, "TD3": TD3, "DDPG": DDPG}
"""Algorithms that can learn from a mixture of real and imagined steps, by name."""
DECIDED = ("steps", "warmup_steps", "updates_per_step", "num_steps")
"""Options of the learner that follow from those of MBPO."""
LEARNER_DEFAULTS: dict[str, Any] = {"critic_layer_norm": True}
"""Options of the learner with other defaults here; not from the paper."""


def check_schedule(name: str, value: Sequence[int]) -> None:
    """Raises ValueError unless `value` is the shortest and the longest k, and two increasing numbers of env steps."""
    require(len(value) == 4, name, "4 numbers", list(value))
    shortest, longest, begin, end = value
    rule = "shortest k >= 1, longest k >= shortest, and the env steps at which k begins and stops to grow, increasing"
    require(1 <= shortest <= longest and 0 <= begin < end, name, rule, list(value))


class MBPO(ModelLearning):
    """Learns a model; an off-policy algorithm, the learner, learns from short roll-outs that branch from real steps.

        repeat    fit            the model to all real steps, starting from its current weights
              repeat    imagine    many roll-outs of k steps of the current policy, from observations in the replay
                        learn      act in the environment, and after every step update from imagined and real steps

    Every imagined step draws a member among the elites. A branch that terminates restarts from another observation.
    Unlike the authors' code, new imagined steps replace all old ones. The authors' algorithm imagines after every env
    step, their code after every fit; `imagine_every` is any interval between.

    The learner acts in the environment and keeps the real steps in its replay buffer. Its critics have layer norm by
    default: with many updates per step from imagined data their values can diverge without.

    Attributes:
        learner: once built, the learner itself.

    Source: Janner et al. (2019), "When to trust your model: model-based policy optimization", algorithm 2; numbers
    of its appendix C and of the authors' code. Layer norm: Ball et al. (2023), "Efficient online reinforcement learning
    with offline data", section 4.2.
    """

    run_defaults = {**SAC.run_defaults, "evaluate_every": 4}
    model_defaults = {"hidden_sizes": (200, 200, 200, 200)}
    fit_defaults = {"batch_size": 256}  # both as in the authors' code

    policy: Policy = given("what is trained.")
    learner: Any = option("off-policy algorithm: SAC, TD3 or DDPG.", one_of(LEARNERS), default="SAC")
    learner_kwargs: Mapping[str, Any] | None = option("options of the learner.", default=None)
    initial_steps: int = option(default=5000)
    fit_every: int = option("env steps between fits, over all copies.", ">= 1", default=250)
    imagine_every: int | None = option(
        "env steps between imaginations, over all copies, at most fit_every; fit_every if None.", ">= 1", default=None
    )
    updates_per_step: float = option("updates of the learner per env step of one copy.", "> 0", default=20.0)
    branches_per_step: int = option("imagined roll-outs per env step.", ">= 1", default=400)
    num_branches: int = option("roll-outs imagined in parallel, at most.", ">= 1", default=5000)
    imagined_steps: Sequence[int] = option(
        "k: shortest, longest, and the env steps between which it grows linearly.", check_schedule, default=(1, 1, 0, 1)
    )
    real_fraction: float = option("fraction of real steps in a batch.", "in [0, 1]", default=0.05)

    def setup(self) -> None:
        """Builds the model, the replay buffer and the learner."""
        super().setup()
        interval = self.fit_every if self.imagine_every is None else self.imagine_every
        require(interval <= self.fit_every, "imagine_every", f"at most fit_every = {self.fit_every}", interval)
        self.interval, self.branches = interval, self.branches_per_step * interval
        weight = next(self.policy.parameters())
        self.build_model(weight, num_envs=min(self.num_branches, self.branches), propagation="ts1")
        cls: Any = LEARNERS[self.learner]
        options = {**LEARNER_DEFAULTS, **accepted("learner_kwargs", self.learner_kwargs, cls, DECIDED)}
        gamma, replay_size = (options.get(name, cls.options[name].default) for name in ("gamma", "replay_size"))
        like = {"device": weight.device, "dtype": weight.dtype}
        self.replay = ImaginedReplay.of(self.envs, replay_size, gamma=gamma, real_fraction=self.real_fraction, **like)
        self.learner = cls(
            self.env,
            self.policy,
            replay=self.replay,
            steps=self.fit_every,
            warmup_steps=self.initial_steps,
            updates_per_step=self.updates_per_step,
            seed=self.seed,
            **options,
        )

    def check(self) -> None:
        """Checks the learner."""
        self.learner.check()

    def announce(self, folder: Path) -> list[str]:
        """What the learner announces."""
        return self.learner.announce(folder)

    def make_optimizers(self) -> list[Optimizer]:
        """The learner's optimizers."""
        return self.learner.optimizers

    def set_folder(self, folder: Path) -> None:
        """Sets the folder, the learner's too."""
        super().set_folder(folder)
        self.learner.set_folder(folder)

    def iterate(self) -> dict[str, Metric]:
        """Fits once, then imagines and learns in turn. The first iteration only takes random actions."""
        if not self.env_steps:
            return self.learn(self.within_limit(self.initial_steps))
        rows, end = [], self.env_steps + self.within_limit(self.fit_every)
        metrics = {**self.fit_model(replayed(self.replay)), "imagined_steps": float(self.horizon)}
        while self.env_steps < end:
            self.imagine()
            rows.append(self.learn(min(self.interval, end - self.env_steps)))
        return {**metrics, **mean_or_last(rows)}

    def learn(self, steps: int) -> dict[str, Metric]:
        """Runs the learner for `steps` env steps. Returns its metrics."""
        metrics = self.learner.collect_and_learn(steps)
        self.learner.iteration += 1
        self.env_steps = self.learner.env_steps
        return metrics

    @property
    def horizon(self) -> int:
        """k, at the current number of env steps."""
        shortest, longest, begin, end = self.imagined_steps
        elapsed = min(max(self.env_steps - begin, 0), end - begin)
        return shortest + elapsed * (longest - shortest) // (end - begin)

    @torch.no_grad()
    def imagine(self) -> None:
        """Fills the replay buffer with steps of the current policy in the current model."""
        horizon, sizes = self.horizon, {"action_noise_size": self.policy.noise_size, "num_resets": 1}
        trajectories = []
        for _ in range(-(-self.branches // self.mdp.num_envs)):
            scenarios = Scenarios.draw(self.mdp, horizon, self.generator, **sizes)
            trajectories.append(rollout(self.mdp, self.policy, scenarios, max_age=horizon)[0])
        self.replay.imagine(trajectories)

    def transitions(self) -> Data | None:
        """The real steps in the replay buffer."""
        return replayed(self.replay) if len(self.replay) else None

    def training_state(self) -> dict[str, Any]:
        """Adds the state of the learner. Imagined steps are not needed: an iteration begins with a fit."""
        return {**super().training_state(), "learner": {"diffsim": self.learner.training_state()}}

    def load_training_state(self, saved: Mapping[str, Any]) -> None:
        """Restores what `training_state` returned."""
        super().load_training_state(saved)
        self.learner.load_training_state(saved["learner"]["diffsim"])


def replayed(replay: ReplayBuffer) -> Data:
    """The real steps of a replay buffer, episode by episode."""
    parts = replay.in_order()
    ends = {name: parts[name].bool() for name in ("terminated", "truncated")}
    return from_windows(parts["obs"], parts["action"], parts["reward"], parts["next_obs"], **ends)


def mean_or_last(rows: Sequence[Mapping[str, Tensor | float]]) -> dict[str, Metric]:
    """Combines several rows of metrics: the mean of each tensor over the rows that have it, and the last count."""
    counts = {name: value for row in rows for name, value in row.items() if not isinstance(value, Tensor)}
    tensors = [{name: value for name, value in row.items() if isinstance(value, Tensor)} for row in rows]
    return {**counts, **mean_metrics(tensors)}
