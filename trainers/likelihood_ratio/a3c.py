"""Advantage actor-critic, asynchronous."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from gymnasium.vector import SyncVectorEnv

from diffsim.checks import require
from diffsim.trainers.experience.vector_env import ReplayedEnv
from diffsim.trainers.likelihood_ratio.a2c import AdvantageActorCritic
from diffsim.trainers.likelihood_ratio.a3c_pool import LearnerPool
from diffsim.trainers.likelihood_ratio.a3c_worker import Shared
from diffsim.trainers.metrics import Metric
from diffsim.trainers.options import option


class A3C(AdvantageActorCritic):
    """Asynchronous advantage actor-critic: several processes act and learn on shared parameters, without locks.

        theta_copy <- theta;  act for `horizon` steps;  g = gradient of A2C's loss at theta_copy
        s <- alpha s + (1 - alpha) g^2,    theta <- theta - learning_rate * g / (sqrt(s) + eps)

    Each learner does this `updates` times per iteration, on its own part of the copies and with its own generator;
    theta and s are shared. At the end of an iteration the learners wait for each other, and the observation statistics
    are updated with the observations of all of them. Reward statistics are each learner's own.

    With one learner the result is A2C's, to the bit. With more, the order of the updates depends on the machine: runs
    are not reproducible, and a resumed run continues from the same parameters, statistics, generators and
    environments, but not with the same numbers.

    The learners import the main module again: a script that uses them needs `if __name__ == "__main__":`.

    Source: Mnih et al. (2016), "Asynchronous Methods for Deep Reinforcement Learning", algorithm S3. There each
    learner has one copy of the environment, and the learning rates are searched for; here they are A2C's.
    """

    learners: int = option("processes. The number of copies must be a multiple of it.", ">= 1", default=2)
    updates: int = option("windows, and updates, of each learner per iteration.", default=25)
    normalize_reward: bool = option(default=True)

    def setup(self) -> None:
        """Divides the copies among the learners.

        Raises: ValueError if they cannot be divided, or other processes cannot use them or the policy.
        """
        learners, total = self.learners, self.env.num_envs
        require(total % learners == 0, "num_envs", f"a multiple of learners = {learners}", total)
        super().setup()
        copies = self.env.env if isinstance(self.env, ReplayedEnv) else self.env
        if not isinstance(copies, SyncVectorEnv):
            raise ValueError(
                "env must be a SyncVectorEnv, whose copies other processes can make again, "
                f"got {type(copies).__name__}; for diffsim/<id> there is A2C"
            )
        if self.device.type != "cpu":
            raise ValueError("device must be cpu for A3C, whose processes share memory")
        shared_options = {name: getattr(self, name) for name, value in self.options.items() if not value.given}
        seeds = [self.seed, *np.random.SeedSequence(self.seed).generate_state(learners)[1:].tolist()]
        self.learner_options = [{**shared_options, "seed": seed} for seed in seeds]
        self.learner_env_fns = [copies.env_fns[number::learners] for number in range(learners)]
        self.learner_states: list[dict[str, Any]] = []
        self.pool: LearnerPool | None = None

    def iterate(self) -> dict[str, Metric]:
        """Runs all learners for `updates` windows each, and updates the observation statistics."""
        if self.pool is None:
            shared, states = self.share_memory_with_learners(), self.learner_states
            self.pool = LearnerPool(shared, self.learner_env_fns, self.learner_options, states)
        reports = self.pool.work(self.env_steps)
        self.env_steps += sum(report.env_steps for report in reports)
        self.learner_states = [report.state for report in reports]
        for report in reports:
            for obs in report.obs:
                self.update_normalizer(obs)
        names = dict.fromkeys(name for report in reports for name in report.metrics)
        logged = {name: [report.metrics[name] for report in reports if name in report.metrics] for name in names}
        return {name: sum(numbers) / len(numbers) for name, numbers in logged.items()}

    def share_memory_with_learners(self) -> Shared:
        """Moves parameters, normaliser and the optimizer's statistics to shared memory."""
        state, squares = self.optimizers[0].state, []
        for parameter in self.trained_parameters():
            if parameter not in state:
                state[parameter] = {"step": torch.zeros(()), "square_avg": torch.zeros_like(parameter)}
            squares.append(state[parameter]["square_avg"].share_memory_())
        return Shared(self.actor.share_memory(), self.value.share_memory(), squares)

    def close(self) -> None:
        """Ends the learners. The next iteration starts them again from their last states."""
        if self.pool is not None:
            self.pool.close()
            self.pool = None

    def training_state(self) -> dict[str, Any]:
        """Adds the states of the learners."""
        return {**super().training_state(), "learners": self.learner_states}

    def load_training_state(self, saved: Mapping[str, Any]) -> None:
        """Restores what `training_state` returned."""
        super().load_training_state(saved)
        self.learner_states = saved["learners"]
