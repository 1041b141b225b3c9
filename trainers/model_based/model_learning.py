"""Base classes of the algorithms that learn a model of an environment while they act in it."""

from __future__ import annotations

import inspect
from abc import abstractmethod
from collections.abc import Callable, Collection, Mapping
from typing import Any, ClassVar

import torch
from gymnasium.spaces import Box
from gymnasium.vector import VectorEnv
from torch import Tensor

from diffsim.checks import did_you_mean, require
from diffsim.models import Data, LearnedMDP, ModelFit, WorldModel
from diffsim.policies import ClipBox, Policy
from diffsim.trainers.algorithm import Algorithm, Evaluator
from diffsim.trainers.errors import UsageError
from diffsim.trainers.experience.vector_env import ResumableEnv, resumable
from diffsim.trainers.maths.returns import running_returns
from diffsim.trainers.metrics import Metric, ended_episodes
from diffsim.trainers.model_based.collection import UniformActor, collect_data
from diffsim.trainers.options import RENAMED, buffer, given, option
from diffsim.trainers.run.parsing import check_kinds
from diffsim.trainers.run.registry import choose

MODELS = {"WorldModel": "diffsim.models"}
"""Module of each of our models."""


class ModelLearning(Algorithm):
    """Learns a model of an environment by repeated fits.

    A subclass calls `build_model` in its `setup`, and `fit_model` with the data so far.

    Attributes:
        model: once built, the model itself.
        mdp: the model as an MDP.
        model_defaults: options of `WorldModel` with other defaults in this algorithm.
        fit_defaults: options of `ModelFit` with other defaults in this algorithm.
    """

    family = "learned model"
    ends_at_limit = True
    run_defaults = {"num_envs": 1, "evaluate_every": 1}
    model_defaults: ClassVar[dict[str, Any]] = {}
    fit_defaults: ClassVar[dict[str, Any]] = {}

    env: VectorEnv = given(
        "N copies: a SyncVectorEnv or AsyncVectorEnv, another one with autoreset mode DISABLED, or our simulator's."
    )
    model: Any = option(
        "class of the model: WorldModel, or your own subclass, my_module:MyModel.", default="WorldModel"
    )
    model_kwargs: Mapping[str, Any] | None = option(
        "options of the model, see `diffsim.models.WorldModel`.", default=None
    )
    fit_kwargs: Mapping[str, Any] | None = option("options of each fit, see `diffsim.models.ModelFit`.", default=None)
    initial_steps: int = option("env steps of uniformly random actions before the first fit.", ">= 1", default=1000)
    validation_share: float = option(
        "fraction of the episodes held out of the fit, for early stopping.", "in (0, 0.5]", default=0.1
    )
    seed: int = option("of all random numbers.", ">= 0", default=0)
    evaluation: Evaluator | None = given(
        "from the policy to metrics; None for no evaluations.", default=None, kw_only=True
    )

    def setup(self) -> None:
        """Resets the environments."""
        self.env = resumable(self.env, self.seed)

    @property
    def envs(self) -> ResumableEnv:
        """`env`, whose state checkpoints can hold."""
        assert isinstance(self.env, ResumableEnv)
        return self.env

    def build_model(self, like: Tensor, **kwargs: Any) -> None:
        """Sets `model`, not fitted yet, and `mdp`, without data.

        Args:
            like: a tensor with their device and floating type.
            **kwargs: options of `LearnedMDP`.

        Raises: TypeError or ValueError if observations are not vectors, actions are not in a bounded Box of floats, or
        an option is wrong.
        """
        observation_space = self.env.single_observation_space
        if not isinstance(observation_space, Box) or len(observation_space.shape) != 1:
            raise ValueError(f"observations must be vectors for {type(self).__name__}, got {observation_space}")
        bounds = ClipBox(self.env.single_action_space)
        action_space = Box(bounds.low.numpy(), bounds.high.numpy())
        self.fit_options = {**self.fit_defaults, **accepted("fit_kwargs", self.fit_kwargs, ModelFit)}
        cls: Any = choose("model", self.model, MODELS)
        defaults = self.model_defaults if cls is WorldModel else {}
        options = {**defaults, **accepted("model_kwargs", self.model_kwargs, cls)}
        torch.manual_seed(self.seed)
        self.model = cls(observation_space.shape[0], action_space.shape[0], **options).to(like)
        self.mdp = LearnedMDP(self.model, None, observation_space, action_space, **kwargs)

    def fit_model(self, data: Data) -> dict[str, Metric]:
        """Fits the model to `data` without the validation episodes; roll-outs then start from all of `data`.

        Returns: the losses, to log.
        Raises: UsageError if there is only one transition.
        """
        self.mdp.data = data
        data = with_two_episodes(data, self.validation_share)
        parts = data.parted(validation_mask(data, self.validation_share))
        losses = ModelFit(self.model, *parts, self.generator, **self.fit_options).run()
        return {f"model/{name}": value for name, value in losses.items()}

    @abstractmethod
    def transitions(self) -> Data | None:
        """All real transitions so far; None if there are none."""


class CollectAndFit(ModelLearning):
    """Acts in the environment by its policy, keeps all transitions, and fits the model to them.

    Attributes:
        data: all transitions so far; None before the first iteration.
    """

    steps_per_iteration: int = option("env steps per iteration, over all copies.", ">= 1", default=200)

    running_return: Tensor = buffer()

    def setup(self) -> None:
        """Resets the environments, and makes the buffer of the running returns. Call `build_model` before."""
        super().setup()
        self.envs.centered_for(self.policy)
        self.data: Data | None = None
        zeros = torch.zeros(self.env.num_envs, device=self.mdp.device, dtype=self.mdp.dtype)
        self.register_buffer("running_return", zeros)

    def collect_and_fit(self) -> dict[str, Metric]:
        """Collects and fits once. Returns the mean return of the episodes that ended, if any, and the losses."""
        if self.data is None:
            random = UniformActor(self.env.single_action_space, self.running_return)
            metrics = self.collect(random, self.within_limit(self.initial_steps))
        else:
            metrics = self.collect(self.policy, self.within_limit(self.steps_per_iteration))
        assert self.data is not None
        return {**metrics, **self.fit_model(self.data)}

    def collect(self, actor: UniformActor | Policy, steps: int) -> dict[str, Metric]:
        """Adds `steps` real transitions to the data. Returns the mean return of the episodes that ended, if any."""
        data, trajectory = collect_data(self.envs, actor, steps, self.generator, self.running_return)
        self.env_steps += len(data)
        self.data = data if self.data is None else self.data.extended(data)
        total, self.running_return = running_returns(trajectory.reward, trajectory.ended, self.running_return)
        return ended_episodes(total, trajectory.ended)

    def transitions(self) -> Data | None:
        """All transitions so far."""
        return self.data

    def training_state(self) -> dict[str, Any]:
        """Adds the data and the states of the environments."""
        data = {} if self.data is None else self.data.tensors()
        return {**super().training_state(), "data": data, "env": self.envs.state_dict()}

    def load_training_state(self, saved: Mapping[str, Any]) -> None:
        """Restores what `training_state` returned."""
        super().load_training_state(saved)
        self.envs.load_state_dict({name: value.cpu() for name, value in saved["env"].items()})
        if saved["data"]:
            self.data = self.mdp.data = Data(**saved["data"]).to(self.running_return)


def with_two_episodes(data: Data, share: float) -> Data:
    """The data; if they are a single episode, it is split in two after a fraction `share` of it.

    Raises: UsageError if there is only one transition.
    """
    if len(data) < 2:
        raise UsageError(f"initial_steps must cover >= 2 transitions, one of them for validation, got {len(data)}")
    later = torch.arange(len(data), device=data.episode.device) >= max(round(share * len(data)), 1)
    single = data.episode[0] == data.episode[-1]
    return data.derived(episode=data.episode + (later & single))


def validation_mask(data: Data, share: float) -> Tensor:
    """Mask of the validation transitions, bool [M]: every (1 / share)-th episode, beginning with the first."""
    return data.episode % max(round(1 / share), 2) == 0


def accepted(option: str, given: Mapping[str, Any] | None, cls: type, decided: Collection[str] = ()) -> dict[str, Any]:
    """The options `given` for the constructor of `cls`, as a new dict.

    Args:
        option: name of the option that holds them, for errors.
        given: by name; None for none.
        cls: what they are options of.
        decided: options of `cls` that cannot be given here.

    Raises: ValueError that names the first option that is not valid, or of the wrong type, and what would be valid.
    """
    valid = [name for name in keyword_options(cls) if name not in {"seed", "evaluation", *decided}]
    for name in given or {}:
        if name not in valid and RENAMED.get(name) in valid:
            raise ValueError(f"option {name} in {option} is now {RENAMED[name]}")
        require(name in valid, option, f"among {', '.join(valid)}", f"{name}{did_you_mean(name, valid)}")
    check_kinds(option, given or {}, cls)
    return dict(given or {})


def keyword_options(cls: type) -> list[str]:
    """Names of the keyword-only arguments of a constructor, and of those that its **kwargs pass on to its base."""
    parameters = inspect.signature(cls).parameters.values()
    names = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
    passed_on = any(p.kind is p.VAR_KEYWORD for p in parameters)
    return [*names, *(keyword_options(cls.__mro__[1]) if passed_on else [])]


def one_of(names: Collection[str]) -> Callable[[str, Any], None]:
    """A rule of an option: its value must be one of `names`."""
    return lambda name, value: require(value in names, name, f"one of {', '.join(names)}", repr(value))
