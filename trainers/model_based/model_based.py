"""The outer loop of model-based learning: collect, fit, improve."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from gymnasium.spaces import Box
from gymnasium.vector import VectorEnv
from torch import Tensor
from torch.optim import Optimizer

from models import Data, LearnedMDP, ModelFit, WorldModel
from policies import Policy
from trainers.algorithm import Algorithm, Evaluation
from trainers.environments import resumable
from trainers.errors import UsageError
from trainers.model_based.collection import UniformActor, collect_window
from trainers.model_based.svg import FAMILY, SVG
from trainers.pathwise.bptt import BPTT
from trainers.pathwise.pegasus import Pegasus
from trainers.pathwise.shac import SHAC
from trainers.ranges import at_least_one, require
from trainers.returns import episode_returns

IMPROVERS: dict[str, type[Algorithm]] = {
    "BPTT": BPTT,
    "SHAC": SHAC,
    "Pegasus": Pegasus,
    **dict.fromkeys(FAMILY, SVG),
}
"""Algorithms that can be run on a learned MDP, by name."""


class ModelBased(Algorithm):
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
        model_kwargs: options of `models.WorldModel`.
        fit_kwargs: options of `models.ModelFit`, of every fit.
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

    run_defaults: ClassVar[dict[str, Any]] = {"num_envs": 1, "evaluate_every": 1}
    running_return: Tensor

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
        evaluation: Evaluation | None = None,
    ) -> None:
        weight = next(policy.parameters())
        super().__init__(policy, seed=seed, device=weight.device, evaluation=evaluation)
        at_least_one(initial_steps=initial_steps, steps_per_iteration=steps_per_iteration)
        at_least_one(updates_per_iteration=updates_per_iteration)
        require(0 < validation_share <= 0.5, "validation_share", "in (0, 0.5]", validation_share)
        if improver not in IMPROVERS:
            raise ValueError(f"improver must be one of {', '.join(IMPROVERS)}, got {improver!r}")
        observation_space, action_space = env.single_observation_space, env.single_action_space
        if not isinstance(observation_space, Box) or not isinstance(action_space, Box):
            raise ValueError(f"env must observe and act in Boxes, got {observation_space} and {action_space}")
        self.env = resumable(env, seed)
        self.initial_steps, self.steps_per_iteration = initial_steps, steps_per_iteration
        self.updates_per_iteration, self.validation_share = updates_per_iteration, validation_share
        self.fit_kwargs = accepted("fit_kwargs", fit_kwargs, ModelFit)
        model_kwargs = accepted("model_kwargs", model_kwargs, WorldModel)
        torch.manual_seed(seed)
        self.model = WorldModel(observation_space.shape[0], action_space.shape[0], **model_kwargs).to(weight)
        self.mdp = LearnedMDP(
            self.model,
            None,
            observation_space,
            action_space,
            num_envs=num_branches,
            max_episode_steps=imagined_steps,
            starts=starts,
            member=member,
        )
        cls: Any = IMPROVERS[improver]
        options = {**FAMILY.get(improver, {}), **accepted("improver_kwargs", improver_kwargs, cls)}
        self.improver: Algorithm = cls(self.mdp, policy, seed=seed, **options)
        self.data: Data | None = None
        self.register_buffer("running_return", weight.new_zeros(env.num_envs))

    def configure_optimizers(self) -> Any:
        """The improver's. It finds them as its own."""
        return self.improver.configure_optimizers()

    def iterate(self) -> dict[str, Tensor | float]:
        """Collects, fits and improves once."""
        finished = []
        if self.data is None:
            random = UniformActor(self.env.single_action_space, self.running_return)
            finished.append(self.collect(random, self.initial_steps))
        else:
            finished.append(self.collect(self.policy, self.steps_per_iteration))
        losses = self.fit_model()
        metrics = self.improve()
        returns = torch.cat(finished)
        return {
            **({"return": returns.mean()} if len(returns) else {}),
            **{f"model/{name}": value for name, value in losses.items()},
            **{f"improver/{name}": value for name, value in metrics.items()},
        }

    def collect(self, actor: UniformActor | Policy, steps: int) -> Tensor:
        """Adds `steps` real steps to the data. Returns the returns of the episodes that ended, [E]."""
        data, trajectory = collect_window(self.env, actor, steps, self.generator, self.running_return)
        self.env_steps += len(data)
        self.data = data if self.data is None else self.data.extended(data)
        finished, self.running_return = episode_returns(trajectory.reward, trajectory.ended, self.running_return)
        return finished

    def fit_model(self) -> dict[str, float]:
        """Fits the model to all data but the episodes held back: the first, and every so-and-so-many-th after it."""
        assert self.data is not None
        held = held_back(self.data, self.validation_share)
        if held.all():
            raise UsageError(
                f"initial_steps must cover >= 2 episodes, one to train and one to validate with, got {len(self.data)}"
            )
        fit = ModelFit(self.model, self.data[~held], self.data[held], self.generator, **self.fit_kwargs)
        losses = fit.run()
        self.mdp.data = self.data
        return losses

    def improve(self) -> dict[str, Tensor | float]:
        """Some iterations of the improver on the present model. Returns the last one's metrics."""
        if isinstance(self.improver, Pegasus):
            self.improver.scenarios = []  # drawn anew from more data, by the same random numbers
            for optimizer in self.improver_optimizers():
                optimizer.state.clear()  # L-BFGS must forget the curvature of another model's return
        metrics: dict[str, Tensor | float] = {}
        for _ in range(self.updates_per_iteration):
            metrics = self.improver.iterate()
            self.improver.iteration += 1
        return metrics

    def improver_optimizers(self) -> list[Optimizer]:
        """Those of `configure_optimizers`, as a list."""
        found: Any = self.optimizers(use_pl_optimizer=False)
        return found if isinstance(found, list) else [found]

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds the data, where the environments stand, and what the improver adds."""
        super().on_save_checkpoint(checkpoint)
        inner: dict[str, Any] = {}
        self.improver.on_save_checkpoint(inner)
        data = {} if self.data is None else self.data.tensors()
        checkpoint["diffsim"] |= {"data": data, "env": self.env.state_dict(), "improver": inner}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restores what `on_save_checkpoint` added."""
        super().on_load_checkpoint(checkpoint)
        saved = checkpoint["diffsim"]
        self.improver.on_load_checkpoint(saved["improver"])
        self.env.load_state_dict({name: value.cpu() for name, value in saved["env"].items()})
        if saved["data"]:
            self.data = self.mdp.data = Data(**saved["data"]).to(self.running_return)


def held_back(data: Data, share: float) -> Tensor:
    """Which transitions to validate with, bool [M]: the first episode, and every (1 / share)-th after it."""
    return data.episode % max(round(1 / share), 2) == 0


def accepted(option: str, given: Mapping[str, Any] | None, cls: type) -> dict[str, Any]:
    """The keyword arguments themselves, if the constructor of `cls` takes them all.

    Raises: ValueError that names the first one that it does not take, and those that it does.
    """
    parameters = inspect.signature(cls).parameters.values()
    valid = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY and p.name not in ("seed", "evaluation")]
    for name in given or {}:
        if name not in valid:
            raise ValueError(f"{option} must be among {', '.join(valid)}, got {name}")
    return dict(given or {})
