"""Probabilistic ensembles with trajectory sampling: planning in a learned model."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch

import diffsim
from diffsim.trainers.metrics import Metric
from diffsim.trainers.model_based.model_learning import CollectAndFit, accepted
from diffsim.trainers.model_based.planner import CEMPlanner
from diffsim.trainers.options import given, option


class PETS(CollectAndFit):
    """Learns a model of an environment, and acts by planning in it. No policy is trained.

        repeat    collect    act by plans in the current model, uniformly at random at first, and keep all transitions
                  fit        the model to all of them, starting from its current weights

    Source: Chua et al. (2018), "Deep reinforcement learning in a handful of trials using probabilistic dynamics
    models".
    """

    planner_kwargs: Mapping[str, Any] | None = option("options of the planner, see `CEMPlanner`.", default=None)

    model_device: str | torch.device = given("device of the model and the planner.", default="cpu", kw_only=True)

    @property
    def device(self) -> torch.device:
        """The model's device."""
        return torch.device(self.model_device)

    def setup(self) -> None:
        """Builds the model and the planner."""
        self.build_model(torch.zeros(0, dtype=diffsim.dtype, device=self.device))
        options = accepted("planner_kwargs", self.planner_kwargs, CEMPlanner)
        self.policy = CEMPlanner(self.mdp, seed=self.seed, **options)
        super().setup()

    @property
    def planner(self) -> CEMPlanner:
        """The policy that acts."""
        assert isinstance(self.policy, CEMPlanner)
        return self.policy

    def iterate(self) -> dict[str, Metric]:
        """Collects and fits once."""
        return self.collect_and_fit()

    def evaluate(self) -> dict[str, float]:
        """Evaluates a shallow copy of the planner, so that training continues from its own last plan."""
        return {} if self.evaluation is None else self.evaluation(copy.copy(self.planner))

    def training_state(self) -> dict[str, Any]:
        """Adds the last plan."""
        return {**super().training_state(), "plan": self.planner.last_plan}

    def load_training_state(self, saved: Mapping[str, Any]) -> None:
        """Restores what `training_state` returned."""
        super().load_training_state(saved)
        plan = saved["plan"]
        self.planner.last_plan = None if plan is None else plan.to(self.device)
