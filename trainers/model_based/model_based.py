"""Model-based policy optimisation with any algorithm that trains a policy on an MDP."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from torch.optim import Optimizer

from diffsim.policies import Policy
from diffsim.trainers.algorithm import MDPAlgorithm
from diffsim.trainers.metrics import Metric
from diffsim.trainers.model_based.model_learning import CollectAndFit, accepted, one_of
from diffsim.trainers.model_based.svg import SVG, VARIANTS
from diffsim.trainers.options import given, option
from diffsim.trainers.pathwise.bptt import BPTT
from diffsim.trainers.pathwise.pegasus import Pegasus
from diffsim.trainers.pathwise.shac import SHAC

IMPROVERS: dict[str, type[MDPAlgorithm]] = {
    "BPTT": BPTT,
    "SHAC": SHAC,
    "Pegasus": Pegasus,
    **dict.fromkeys(VARIANTS, SVG),
}
"""Algorithms that can train the policy on the learned MDP, by name."""


class ModelBased(CollectAndFit):
    """Learns a model of an environment, and trains the policy by another algorithm, the improver, on the model.

        repeat    collect    act in the environment, uniformly at random at first, and keep all transitions
                  fit        the model to all of them, starting from its current weights
                  improve    the policy by some iterations of the improver on the model

    Roll-outs of BPTT, SHAC and Pegasus start from observations of the data. Only real env steps are counted.

    Attributes:
        improver: once built, the improver itself.

    Source: Sutton (1991), "Dyna"; Heess et al. (2015), algorithm 1; Janner et al. (2019), "When to trust your model",
    for short roll-outs that branch from data.
    """

    policy: Policy = given("what is trained.")
    improver: Any = option("algorithm: BPTT, SHAC, Pegasus, SVGInf, SVG1 or SVGk.", one_of(IMPROVERS), default="SHAC")
    improver_kwargs: Mapping[str, Any] | None = option("options of the improver.", default=None)
    num_branches: int = option(
        "copies of the learned MDP, or windows of data, per update of the improver.", ">= 1", default=64
    )
    imagined_steps: int = option("steps after which an episode of the learned MDP is truncated.", ">= 1", default=1000)
    starts: Literal["any", "episodes"] = option(
        'roll-outs start from "any" observation of the data, or from the first of each episode, "episodes".',
        default="any",
    )
    propagation: Literal["tsinf", "ts1"] = option(
        '"tsinf" keeps one member of the ensemble for a whole episode, "ts1" draws one at every step.', default="tsinf"
    )
    updates_per_iteration: int = option("iterations of the improver per fit.", ">= 1", default=50)

    def setup(self) -> None:
        """Builds the model and the improver."""
        self.build_model(
            next(self.policy.parameters()),
            num_envs=self.num_branches,
            max_episode_steps=self.imagined_steps,
            starts=self.starts,
            propagation=self.propagation,
        )
        super().setup()
        cls, variant = IMPROVERS[self.improver], VARIANTS.get(self.improver, {})
        options = {**variant, **accepted("improver_kwargs", self.improver_kwargs, cls)}
        self.improver = cls(self.mdp, self.policy, seed=self.seed, **options)

    def make_optimizers(self) -> list[Optimizer]:
        """The improver's optimizers."""
        return self.improver.optimizers

    def iterate(self) -> dict[str, Metric]:
        """Collects, fits and improves once."""
        metrics = self.collect_and_fit()
        return {**metrics, **{f"improver/{name}": value for name, value in self.improve().items()}}

    def improve(self) -> dict[str, Metric]:
        """Runs the improver on the current model. Returns the metrics of its last iteration."""
        self.improver.mdp_changed()
        metrics: dict[str, Metric] = {}
        for _ in range(self.updates_per_iteration):
            metrics = self.improver.iterate()
            self.improver.iteration += 1
        return metrics

    def training_state(self) -> dict[str, Any]:
        """Adds the state of the improver."""
        return {**super().training_state(), "improver": {"diffsim": self.improver.training_state()}}

    def load_training_state(self, saved: Mapping[str, Any]) -> None:
        """Restores what `training_state` returned."""
        super().load_training_state(saved)
        self.improver.load_training_state(saved["improver"]["diffsim"])
