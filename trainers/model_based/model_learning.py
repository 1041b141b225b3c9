"""What algorithms have in common that learn a model of an environment while they act in it."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any, ClassVar

import torch
from gymnasium.spaces import Box
from gymnasium.vector import VectorEnv
from torch import Tensor

from diffsim.models import Data, LearnedMDP, ModelFit, WorldModel
from diffsim.policies import Policy
from diffsim.trainers.algorithm import Algorithm, Evaluator
from diffsim.trainers.errors import UsageError
from diffsim.trainers.experience.vector_env import resumable
from diffsim.trainers.maths.returns import episode_returns
from diffsim.trainers.model_based.collection import UniformActor, collect_window
from diffsim.trainers.ranges import at_least_one, require


class ModelLearning(Algorithm):
    """Acts in an environment, keeps all that happened, and fits a model to it.

    Args:
        env: N copies of the environment, whose autoreset mode is DISABLED; or our simulator's.
        policy: who acts, once the first steps have been taken at random.
        mdp: the model's, whose data are set here.
        fit_kwargs: options of `diffsim.models.ModelFit`, of every fit.
        initial_steps: env steps at random before the first fit.
        steps_per_iteration: env steps per iteration, of all copies together.
        validation_share: of the episodes, to stop fitting by, in (0, 0.5].
        seed: of everything random, at least 0.
        evaluation: from the policy to metrics.
    """

    run_defaults: ClassVar[dict[str, Any]] = {"num_envs": 1, "evaluate_every": 1}
    running_return: Tensor

    def __init__(
        self,
        env: VectorEnv,
        policy: Policy,
        mdp: LearnedMDP,
        *,
        fit_kwargs: Mapping[str, Any] | None,
        initial_steps: int,
        steps_per_iteration: int,
        validation_share: float,
        seed: int,
        evaluation: Evaluator | None,
    ) -> None:
        super().__init__(policy, seed=seed, device=mdp.device, evaluation=evaluation)
        at_least_one(initial_steps=initial_steps, steps_per_iteration=steps_per_iteration)
        require(0 < validation_share <= 0.5, "validation_share", "in (0, 0.5]", validation_share)
        self.fit_kwargs = accepted("fit_kwargs", fit_kwargs, ModelFit)
        self.env, self.mdp, self.model = resumable(env, seed), mdp, mdp.model
        self.initial_steps, self.steps_per_iteration = initial_steps, steps_per_iteration
        self.validation_share = validation_share
        self.data: Data | None = None
        self.register_buffer("running_return", torch.zeros(env.num_envs, device=mdp.device, dtype=mdp.dtype))

    def learn_model(self) -> dict[str, Tensor | float]:
        """Collects, and fits. Returns the mean return of episodes that ended, if any did, and the fit's losses."""
        if self.data is None:
            random = UniformActor(self.env.single_action_space, self.running_return)
            returns = self.collect(random, self.initial_steps)
        else:
            returns = self.collect(self.policy, self.steps_per_iteration)
        losses = {f"model/{name}": value for name, value in self.fit_model().items()}
        return {**({"return": returns.mean()} if len(returns) else {}), **losses}

    def collect(self, actor: UniformActor | Policy, steps: int) -> Tensor:
        """Adds `steps` real steps to the data. Returns the returns of the episodes that ended, [E]."""
        data, trajectory = collect_window(self.env, actor, steps, self.generator, self.running_return)
        self.env_steps += len(data)
        self.data = data if self.data is None else self.data.extended(data)
        finished, self.running_return = episode_returns(trajectory.reward, trajectory.ended, self.running_return)
        return finished

    def fit_model(self) -> dict[str, float]:
        """Fits the model to all data but the episodes held back, and lets roll-outs start from all of them."""
        assert self.data is not None
        losses = fit_to(self.model, self.data, self.validation_share, self.generator, self.fit_kwargs)
        self.mdp.data = self.data
        return losses

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds the data, and where the environments stand."""
        super().on_save_checkpoint(checkpoint)
        data = {} if self.data is None else self.data.tensors()
        checkpoint["diffsim"] |= {"data": data, "env": self.env.state_dict()}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restores what `on_save_checkpoint` added."""
        super().on_load_checkpoint(checkpoint)
        saved = checkpoint["diffsim"]
        self.env.load_state_dict({name: value.cpu() for name, value in saved["env"].items()})
        if saved["data"]:
            self.data = self.mdp.data = Data(**saved["data"]).to(self.running_return)


def make_learned_mdp(
    env: VectorEnv, model_kwargs: Mapping[str, Any] | None, like: Tensor, *, seed: int, **kwargs: Any
) -> LearnedMDP:
    """A model that is not fitted yet, behind the interface of a world; without data.

    Args:
        env: what it is to be a model of.
        model_kwargs: options of `diffsim.models.WorldModel`.
        like: a tensor of its device and floating type.
        seed: of its weights.
        **kwargs: options of `diffsim.models.LearnedMDP`.

    Raises: ValueError if the spaces are not Boxes, or an option is wrong.
    """
    observation_space, action_space = env.single_observation_space, env.single_action_space
    if not isinstance(observation_space, Box) or not isinstance(action_space, Box):
        raise ValueError(f"env must observe and act in Boxes, got {observation_space} and {action_space}")
    options = accepted("model_kwargs", model_kwargs, WorldModel)
    torch.manual_seed(seed)
    model = WorldModel(observation_space.shape[0], action_space.shape[0], **options).to(like)
    return LearnedMDP(model, None, observation_space, action_space, **kwargs)


def fit_to(
    model: WorldModel, data: Data, share: float, generator: torch.Generator, fit_kwargs: Mapping[str, Any]
) -> dict[str, float]:
    """Fits a model to all data but the episodes held back. Returns what `ModelFit.run` does.

    Raises: UsageError if there is but one transition.
    """
    data = in_pieces(data, share)
    held = held_back(data, share)
    return ModelFit(model, data[~held], data[held], generator, **fit_kwargs).run()


def in_pieces(data: Data, share: float) -> Data:
    """The data; if they are a single episode, cut in two after `share` of it.

    Raises: UsageError if there is but one transition.
    """
    if len(data) < 2:
        raise UsageError(f"initial_steps must cover >= 2 transitions, one to validate with, got {len(data)}")
    if data.episode[0] != data.episode[-1]:
        return data
    later = torch.arange(len(data), device=data.episode.device) >= max(round(share * len(data)), 1)
    return replace(data, episode=data.episode + later)


def held_back(data: Data, share: float) -> Tensor:
    """Which transitions to validate with, bool [M]: the first episode, and every (1 / share)-th after it."""
    return data.episode % max(round(1 / share), 2) == 0


def accepted(option: str, given: Mapping[str, Any] | None, cls: type, decided: Collection[str] = ()) -> dict[str, Any]:
    """The keyword arguments themselves, if the constructor of `cls` takes them all, and none is decided elsewhere.

    Raises: ValueError that names the first one that it does not take, and those that it does.
    """
    parameters = inspect.signature(cls).parameters.values()
    taken = {"seed", "evaluation", *decided}
    valid = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY and p.name not in taken]
    for name in given or {}:
        if name not in valid:
            raise ValueError(f"{option} must be among {', '.join(valid)}, got {name}")
    return dict(given or {})
