"""The outer loop of model-based learning: collect, fit, improve."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from gymnasium.vector import VectorEnv
from torch import Tensor

from diffsim.policies import Policy
from diffsim.trainers.algorithm import Algorithm, Evaluator
from diffsim.trainers.model_based.model_learning import ModelLearning, accepted, make_learned_mdp
from diffsim.trainers.model_based.svg import FAMILY, SVG
from diffsim.trainers.pathwise.bptt import BPTT
from diffsim.trainers.pathwise.pegasus import Pegasus
from diffsim.trainers.pathwise.shac import SHAC
from diffsim.trainers.ranges import at_least_one

IMPROVERS: dict[str, type[Algorithm]] = {
    "BPTT": BPTT,
    "SHAC": SHAC,
    "Pegasus": Pegasus,
    **dict.fromkeys(FAMILY, SVG),
}
"""Algorithms that can be run on a learned MDP, by name."""


class ModelBased(ModelLearning):
    """Learns a model of an environment, and improves the policy by another algorithm that runs on the model.

        repeat    collect    act in the environment, at first at random, and keep all that happened
                  fit        the model to all of it, from its last weights on
                  improve    the policy by some iterations of the improver, on the model

    The improver is any algorithm on an MDP, unchanged; those that imagine start from observations of the data. Env
    steps are real ones.

    Args:
        env: N copies of the environment, whose autoreset mode is DISABLED; or our simulator's.
        policy: what is trained.
        improver: BPTT, SHAC, Pegasus, SVGInf, SVG1 or SVGk.
        improver_kwargs: its options.
        model_kwargs: options of `diffsim.models.WorldModel`.
        fit_kwargs: options of `diffsim.models.ModelFit`, of every fit.
        num_branches: imagined copies, or windows of data, that the improver works with at a time.
        imagined_steps: steps after which an imagined episode is cut short.
        starts: imagined episodes start from "any" observation of the data, or as real "episodes" do.
        member: how long an imagined copy keeps its member of the ensemble: for an "episode", or a "step".
        initial_steps: env steps at random before the first fit.
        steps_per_iteration: env steps per iteration, of all copies together.
        updates_per_iteration: iterations of the improver per fit.
        validation_share: of the episodes, to stop fitting by: every so-and-so-many-th one, in (0, 0.5].
        seed: of everything random, at least 0.
        evaluation: from the policy to metrics.

    Source: Sutton (1991), "Dyna"; Heess et al. (2015), algorithm 1; Janner et al. (2019), "When to trust your model",
    for short roll-outs branched from data.
    """

    def __init__(
        self,
        env: VectorEnv,
        policy: Policy,
        *,
        improver: str = "SHAC",
        improver_kwargs: Mapping[str, Any] | None = None,
        model_kwargs: Mapping[str, Any] | None = None,
        fit_kwargs: Mapping[str, Any] | None = None,
        num_branches: int = 64,
        imagined_steps: int = 1000,
        starts: Literal["any", "episodes"] = "any",
        member: Literal["episode", "step"] = "episode",
        initial_steps: int = 1000,
        steps_per_iteration: int = 200,
        updates_per_iteration: int = 50,
        validation_share: float = 0.1,
        seed: int = 0,
        evaluation: Evaluator | None = None,
    ) -> None:
        if improver not in IMPROVERS:
            raise ValueError(f"improver must be one of {', '.join(IMPROVERS)}, got {improver!r}")
        at_least_one(updates_per_iteration=updates_per_iteration)
        mdp = make_learned_mdp(
            env,
            model_kwargs,
            next(policy.parameters()),
            seed=seed,
            num_envs=num_branches,
            max_episode_steps=imagined_steps,
            starts=starts,
            member=member,
        )
        super().__init__(
            env,
            policy,
            mdp,
            fit_kwargs=fit_kwargs,
            initial_steps=initial_steps,
            steps_per_iteration=steps_per_iteration,
            validation_share=validation_share,
            seed=seed,
            evaluation=evaluation,
        )
        self.updates_per_iteration = updates_per_iteration
        cls: Any = IMPROVERS[improver]
        options = {**FAMILY.get(improver, {}), **accepted("improver_kwargs", improver_kwargs, cls)}
        self.improver: Algorithm = cls(self.mdp, policy, seed=seed, **options)

    def configure_optimizers(self) -> Any:
        """The improver's. It finds them as its own."""
        return self.improver.configure_optimizers()

    def iterate(self) -> dict[str, Tensor | float]:
        """Collects, fits and improves once."""
        metrics = self.learn_model()
        return {**metrics, **{f"improver/{name}": value for name, value in self.improve().items()}}

    def improve(self) -> dict[str, Tensor | float]:
        """Some iterations of the improver on the present model. Returns the last one's metrics."""
        if isinstance(self.improver, Pegasus):
            self.improver.scenarios = []  # drawn anew from more data, by the same random numbers
            for optimizer in self.all_optimizers():
                optimizer.state.clear()  # L-BFGS must forget the curvature of another model's return
        metrics: dict[str, Tensor | float] = {}
        for _ in range(self.updates_per_iteration):
            metrics = self.improver.iterate()
            self.improver.iteration += 1
        return metrics

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds what the improver adds."""
        super().on_save_checkpoint(checkpoint)
        inner: dict[str, Any] = {}
        self.improver.on_save_checkpoint(inner)
        checkpoint["diffsim"]["improver"] = inner

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restores what `on_save_checkpoint` added."""
        super().on_load_checkpoint(checkpoint)
        self.improver.on_load_checkpoint(checkpoint["diffsim"]["improver"])
