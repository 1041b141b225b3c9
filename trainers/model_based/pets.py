"""Probabilistic ensembles with trajectory sampling: the model-based baseline without a policy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from gymnasium.vector import VectorEnv
from torch import Tensor

import diffsim
from diffsim.trainers.algorithm import Evaluator
from diffsim.trainers.model_based.model_learning import ModelLearning, accepted, make_learned_mdp
from diffsim.trainers.model_based.planner import CEMPlanner


class PETS(ModelLearning):
    """Learns a model of an environment, and acts in it by planning.

        repeat    collect    act by plans in the present model, at first at random, and keep all that happened
                  fit        the model to all of it, from its last weights on

    Args:
        env: N copies of the environment, whose autoreset mode is DISABLED; or our simulator's.
        planner_kwargs: options of `CEMPlanner`.
        model_kwargs: options of `diffsim.models.WorldModel`.
        fit_kwargs: options of `diffsim.models.ModelFit`, of every fit.
        initial_steps: env steps at random before the first fit.
        steps_per_iteration: env steps per iteration, of all copies together.
        validation_share: of the episodes, to stop fitting by: every so-and-so-many-th one, in (0, 0.5].
        seed: of everything random, at least 0.
        evaluation: from the planner to metrics.

    Source: Chua et al. (2018), "Deep reinforcement learning in a handful of trials using probabilistic dynamics
    models".
    """

    def __init__(
        self,
        env: VectorEnv,
        *,
        planner_kwargs: Mapping[str, Any] | None = None,
        model_kwargs: Mapping[str, Any] | None = None,
        fit_kwargs: Mapping[str, Any] | None = None,
        initial_steps: int = 1000,
        steps_per_iteration: int = 200,
        validation_share: float = 0.1,
        seed: int = 0,
        evaluation: Evaluator | None = None,
    ) -> None:
        mdp = make_learned_mdp(env, model_kwargs, torch.zeros(0, dtype=diffsim.dtype), seed=seed)
        super().__init__(
            env,
            CEMPlanner(mdp, seed=seed, **accepted("planner_kwargs", planner_kwargs, CEMPlanner)),
            mdp,
            fit_kwargs=fit_kwargs,
            initial_steps=initial_steps,
            steps_per_iteration=steps_per_iteration,
            validation_share=validation_share,
            seed=seed,
            evaluation=evaluation,
        )

    @property
    def planner(self) -> CEMPlanner:
        """Who acts."""
        assert isinstance(self.policy, CEMPlanner)
        return self.policy

    def configure_optimizers(self) -> None:
        """None: the fit has its own."""

    def iterate(self) -> dict[str, Tensor | float]:
        """Collects and fits once. The plans are better by themselves then."""
        return self.learn_model()

    def evaluate(self) -> dict[str, float]:
        """Measures the plans in the official environment, and goes on from those of training."""
        plan = self.planner.last_plan
        metrics = super().evaluate()
        self.planner.last_plan = plan
        return metrics

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds the last plan."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["diffsim"]["plan"] = self.planner.last_plan

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restores it."""
        super().on_load_checkpoint(checkpoint)
        self.planner.last_plan = checkpoint["diffsim"]["plan"]
