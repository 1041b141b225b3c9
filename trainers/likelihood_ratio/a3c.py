"""Advantage actor-critic, asynchronous."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from gymnasium.vector import SyncVectorEnv, VectorEnv
from torch import Tensor

from diffsim.policies import Policy
from diffsim.trainers.algorithm import Evaluator
from diffsim.trainers.experience.vector_env import ReplayedEnv
from diffsim.trainers.likelihood_ratio.a2c import A2C
from diffsim.trainers.likelihood_ratio.a3c_crew import Crew
from diffsim.trainers.likelihood_ratio.a3c_worker import Shared
from diffsim.trainers.maths.schedule import Decay
from diffsim.trainers.ranges import at_least_one


class A3C(A2C):
    """Lets several processes act and learn at the same time, on parameters that they share without locks.

        theta_copy <- theta;  act for `horizon` steps;  g = gradient of A2C's loss at theta_copy
        s <- alpha s + (1 - alpha) g^2,    theta <- theta - learning_rate * g / (sqrt(s) + eps)

    Each learner does this `updates` times per iteration, on its own share of the copies and with a generator of its
    own; theta and s are everybody's. Then they wait for each other, and go on with the statistics of all observations.

    With one learner this is A2C, to the bit. With more, who is first is up to the machine: no two runs are equal, and a
    resumed run goes on from the same parameters, statistics, generators and environments, but not in the same way.

    Args:
        env: N copies of Gymnasium's environments, which the learners share out.
        policy: what is trained.
        learners: processes, at least 1. N must be a multiple of it.
        horizon: H, steps of each copy per update.
        updates: of each learner per iteration, which then has N * H * updates env steps.
        gamma: discount, in (0, 1].
        lam: of advantages and of the value's targets, in [0, 1].
        learning_rate: of the shared RMSprop.
        decay_env_steps: when it falls linearly to 0, as two counts of env steps or the second; None for never.
        value_weight: of the value's error in the loss, above 0.
        entropy_weight: of the entropy, at least 0.
        max_norm: gradients of all parameters are scaled down to this norm.
        normalize_advantage: shift and scale advantages to mean 0 and deviation 1 within each update.
        normalize_reward: learn from rewards in units of the return's running deviation, of each learner.
        value_hidden_sizes: widths of the value's hidden layers.
        seed: of choices and of the environments, at least 0.
        evaluation: from the policy to metrics.

    Source: Mnih et al. (2016), "Asynchronous Methods for Deep Reinforcement Learning", algorithm S3. There each
    learner has one copy of the environment, and the rates are searched for; here they are A2C's.
    """

    def __init__(
        self,
        env: VectorEnv,
        policy: Policy,
        *,
        learners: int = 2,
        horizon: int = 5,
        updates: int = 25,
        gamma: float = 0.99,
        lam: float = 1.0,
        learning_rate: float = 7e-4,
        decay_env_steps: Decay = None,
        value_weight: float = 0.5,
        entropy_weight: float = 0.0,
        max_norm: float = 0.5,
        normalize_advantage: bool = False,
        normalize_reward: bool = True,
        value_hidden_sizes: Sequence[int] = (64, 64),
        seed: int = 0,
        evaluation: Evaluator | None = None,
    ) -> None:
        at_least_one(learners=learners)
        if env.num_envs % learners:
            raise ValueError(f"num_envs must be a multiple of learners = {learners}, got {env.num_envs}")
        options: dict[str, Any] = {
            "horizon": horizon,
            "updates": updates,
            "gamma": gamma,
            "lam": lam,
            "learning_rate": learning_rate,
            "decay_env_steps": decay_env_steps,
            "value_weight": value_weight,
            "entropy_weight": entropy_weight,
            "max_norm": max_norm,
            "normalize_advantage": normalize_advantage,
            "normalize_reward": normalize_reward,
            "value_hidden_sizes": value_hidden_sizes,
        }
        super().__init__(env, policy, **options, seed=seed, evaluation=evaluation)
        copies = self.env.env if isinstance(self.env, ReplayedEnv) else self.env
        if not isinstance(copies, SyncVectorEnv):
            raise ValueError(
                "env must be a SyncVectorEnv, whose copies other processes can make again, "
                f"got {type(copies).__name__}; for diffsim/<id> there is A2C"
            )
        if next(self.actor.parameters()).device.type != "cpu":
            raise ValueError("device must be cpu for A3C, whose processes share memory")
        seeds = [seed, *np.random.SeedSequence(seed).generate_state(learners)[1:].tolist()]
        self.shares = [copies.env_fns[number::learners] for number in range(learners)]
        self.options = [{**options, "learners": learners, "seed": own} for own in seeds]
        self.states: list[dict[str, Any]] = []
        self.crew: Crew | None = None

    def iterate(self) -> dict[str, Tensor | float]:
        """Lets every learner act and learn, and lets all see with the statistics of all."""
        if self.crew is None:
            self.crew = Crew(self.shared(), self.shares, self.options, self.states)
        reports = self.crew.work(self.env_steps)
        self.env_steps += sum(report.env_steps for report in reports)
        self.states = [report.state for report in reports]
        for report in reports:
            for obs in report.obs:
                self.update_normalizer(obs)
        names = dict.fromkeys(name for report in reports for name in report.metrics)
        told = {name: [report.metrics[name] for report in reports if name in report.metrics] for name in names}
        return {name: sum(numbers) / len(numbers) for name, numbers in told.items()}

    def shared(self) -> Shared:
        """Parameters, normaliser and the optimizer's statistics, moved to memory that other processes can reach."""
        state, squares = self.only_optimizer().state, []
        for parameter in [*self.actor.parameters(), *self.value.parameters()]:
            if parameter not in state:
                state[parameter] = {"step": torch.zeros(()), "square_avg": torch.zeros_like(parameter)}
            squares.append(state[parameter]["square_avg"].share_memory_())
        return Shared(self.actor.share_memory(), self.value.share_memory(), squares)

    def teardown(self, stage: str) -> None:
        """Ends the learners; another fit would start them again where they were."""
        if self.crew is not None:
            self.crew.close()
            self.crew = None

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds where the learners stand."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["diffsim"]["learners"] = self.states

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Puts the learners where they stood."""
        super().on_load_checkpoint(checkpoint)
        self.states = checkpoint["diffsim"]["learners"]
