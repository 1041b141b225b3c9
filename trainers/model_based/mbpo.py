"""Model-based policy optimization: an off-policy algorithm that learns from what a model imagines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from gymnasium.vector import VectorEnv
from torch import Tensor

from diffsim.mdp import Scenarios
from diffsim.models import Data, ModelFit, from_windows
from diffsim.policies import Policy
from diffsim.trainers.algorithm import Algorithm, Evaluator
from diffsim.trainers.experience.replay_buffer import ReplayBuffer
from diffsim.trainers.experience.rollout import rollout
from diffsim.trainers.experience.vector_env import resumable
from diffsim.trainers.model_based.imagined_replay import ImaginedReplay
from diffsim.trainers.model_based.model_learning import accepted, fit_to, make_learned_mdp
from diffsim.trainers.ranges import at_least_one, require
from diffsim.trainers.value_gradient.ddpg import DDPG
from diffsim.trainers.value_gradient.off_policy import OffPolicy
from diffsim.trainers.value_gradient.optimizer_step import mean_metrics
from diffsim.trainers.value_gradient.sac import SAC
from diffsim.trainers.value_gradient.td3 import TD3

LEARNERS: dict[str, type[OffPolicy]] = {"SAC": SAC, "TD3": TD3, "DDPG": DDPG}
"""Algorithms that can learn from a mixture of real and imagined steps, by name."""
DECIDED = ("steps", "warmup_steps", "updates_per_step", "num_steps")
"""Options of a learner that are decided here."""
LEARNER_DEFAULTS: dict[str, Any] = {"critic_layer_norm": True}
"""Where the learner differs from what it is by itself, and from the authors'."""
MODEL_DEFAULTS: dict[str, Any] = {"hidden_sizes": (200, 200, 200, 200)}
FIT_DEFAULTS: dict[str, Any] = {"batch_size": 256}
"""Options of `WorldModel` and `ModelFit` in the authors' code that differ from the defaults here."""


class MBPO(Algorithm):
    """Learns a model, and lets an off-policy algorithm learn from short roll-outs that branch from real steps.

        repeat    fit            the model to all real steps, from its last weights on
              repeat    imagine    k steps by the present policy from observations of the replay, many times over
                        learn      act in the environment, and after every step update from imagined and real steps

    Each imagined step has a member of its own among the elites. A branch that ends goes on from another observation.
    Unlike the authors, what was imagined before is then thrown away. Their algorithm imagines after every env step,
    their code after every fit; `imagine_every` is what is between.

    The learner is the off-policy algorithm, unchanged; it acts, and keeps the real steps in its replay.

    Args:
        env: N copies of the environment, whose autoreset mode is DISABLED; or our simulator's.
        policy: what is trained.
        learner: SAC, TD3 or DDPG.
        learner_kwargs: its options; its critics' layers are normalised if they do not say otherwise: many updates per
            step, from what is imagined, can drive their values beyond what returns can be.
        model_kwargs: options of `diffsim.models.WorldModel`; four hidden layers of 200 if they do not say otherwise.
        fit_kwargs: options of `diffsim.models.ModelFit`, of every fit; batches of 256 if they do not say otherwise.
        initial_steps: env steps at random before the first fit.
        fit_every: env steps from one fit to the next, of all copies together.
        imagine_every: env steps from one imagination to the next, of all copies together, at most `fit_every`; that
            many if None.
        updates_per_step: of the learner, per env step of one copy, above 0.
        branches_per_step: imagined roll-outs per env step, of all `imagine_every` steps at once.
        num_branches: of these, how many are imagined at a time.
        imagined_steps: k: its shortest value, its longest, and the env steps from which and up to which it grows.
        real_fraction: part of a batch that is real, in [0, 1].
        validation_share: of the episodes, to stop fitting by, in (0, 0.5].
        seed: of everything random, at least 0.
        evaluation: from the policy to metrics.

    Source: Janner et al. (2019), "When to trust your model: model-based policy optimization", algorithm 2; numbers
    of its appendix C and of the authors' code. Layer norm: Ball et al. (2023), "Efficient online reinforcement learning
    with offline data", section 4.2.
    """

    run_defaults = {**SAC.run_defaults, "evaluate_every": 4}

    def __init__(
        self,
        env: VectorEnv,
        policy: Policy,
        *,
        learner: str = "SAC",
        learner_kwargs: Mapping[str, Any] | None = None,
        model_kwargs: Mapping[str, Any] | None = None,
        fit_kwargs: Mapping[str, Any] | None = None,
        initial_steps: int = 5000,
        fit_every: int = 250,
        imagine_every: int | None = None,
        updates_per_step: float = 20.0,
        branches_per_step: int = 400,
        num_branches: int = 5000,
        imagined_steps: Sequence[int] = (1, 1, 0, 1),
        real_fraction: float = 0.05,
        validation_share: float = 0.1,
        seed: int = 0,
        evaluation: Evaluator | None = None,
    ) -> None:
        weight = next(policy.parameters())
        super().__init__(policy, seed=seed, device=weight.device, evaluation=evaluation)
        at_least_one(initial_steps=initial_steps, fit_every=fit_every, branches_per_step=branches_per_step)
        at_least_one(imagine_every=imagine_every)
        imagine_every = fit_every if imagine_every is None else imagine_every
        require(imagine_every <= fit_every, "imagine_every", f"at most fit_every = {fit_every}", imagine_every)
        require(0 < validation_share <= 0.5, "validation_share", "in (0, 0.5]", validation_share)
        if learner not in LEARNERS:
            raise ValueError(f"learner must be one of {', '.join(LEARNERS)}, got {learner!r}")
        self.schedule = checked_schedule(imagined_steps)
        self.initial_steps, self.fit_every, self.imagine_every = initial_steps, fit_every, imagine_every
        self.validation_share, self.branches = validation_share, branches_per_step * imagine_every
        env = resumable(env, seed)
        self.fit_kwargs = {**FIT_DEFAULTS, **accepted("fit_kwargs", fit_kwargs, ModelFit)}
        model_kwargs = {**MODEL_DEFAULTS, **(model_kwargs or {})}
        count = min(num_branches, self.branches)
        self.mdp = make_learned_mdp(env, model_kwargs, weight, seed=seed, num_envs=count, member="step")
        self.model = self.mdp.model
        cls: Any = LEARNERS[learner]
        chosen = {**LEARNER_DEFAULTS, **accepted("learner_kwargs", learner_kwargs, cls, DECIDED)}
        counts = {"steps": fit_every, "warmup_steps": initial_steps, "updates_per_step": updates_per_step}
        self.learner: OffPolicy = cls(env, policy, seed=seed, **counts, **chosen)
        self.learner.replay = self.replay = ImaginedReplay.of(self.learner.replay, real_fraction)

    def check(self) -> None:
        """What the learner needs."""
        self.learner.check()

    def configure_optimizers(self) -> Any:
        """The learner's. It finds them as its own."""
        return self.learner.configure_optimizers()

    def iterate(self) -> dict[str, Tensor | float]:
        """Fits once, and imagines and learns by turns; at first, only acts at random."""
        if not self.env_steps:
            return self.learn(self.initial_steps)
        metrics, rows, end = self.learn_model(), [], self.env_steps + self.fit_every
        while self.env_steps < end:
            self.imagine()
            rows.append(self.learn(min(self.imagine_every, end - self.env_steps)))
        return {**metrics, **mean_or_last(rows)}

    def learn(self, steps: int) -> dict[str, Tensor | float]:
        """Lets the learner act and learn for `steps` env steps. Returns its metrics."""
        self.learner.steps = steps
        metrics = self.learner.iterate()
        self.learner.iteration += 1
        self.env_steps = self.learner.env_steps
        return metrics

    def learn_model(self) -> dict[str, Tensor | float]:
        """Fits the model to the replay. Returns the fit's losses, and k."""
        self.mdp.data = data = replayed(self.replay)
        losses = fit_to(self.model, data, self.validation_share, self.generator, self.fit_kwargs)
        return {**{f"model/{name}": value for name, value in losses.items()}, "imagined_steps": float(self.horizon)}

    @property
    def horizon(self) -> int:
        """k, at the present number of env steps."""
        shortest, longest, begin, end = self.schedule
        grown = (self.env_steps - begin) / max(end - begin, 1)
        return int(shortest + min(max(grown, 0.0), 1.0) * (longest - shortest))

    @torch.no_grad()
    def imagine(self) -> None:
        """Fills the replay with imagined steps of the present policy, in the present model."""
        horizon, sizes = self.horizon, {"action_noise_size": self.policy.noise_size, "num_resets": 1}
        trajectories = []
        for _ in range(-(-self.branches // self.mdp.num_envs)):
            scenarios = Scenarios.draw(self.mdp, horizon, self.generator, **sizes)
            trajectories.append(rollout(self.mdp, self.policy, scenarios, max_age=horizon)[0])
        self.replay.imagine(trajectories)

    def setup(self, stage: str) -> None:
        """Lets the learner know where the run is kept."""
        self.learner.folder = self.folder
        self.learner.setup(stage)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds what the learner adds. What is imagined is not needed: the next iteration begins with a fit."""
        super().on_save_checkpoint(checkpoint)
        inner: dict[str, Any] = {}
        self.learner.on_save_checkpoint(inner)
        checkpoint["diffsim"]["learner"] = inner

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restores what `on_save_checkpoint` added."""
        super().on_load_checkpoint(checkpoint)
        self.learner.on_load_checkpoint(checkpoint["diffsim"]["learner"])


def replayed(replay: ReplayBuffer) -> Data:
    """The real steps of a replay, episode by episode."""
    parts = replay.in_order()
    ends = {name: parts[name].bool() for name in ("terminated", "truncated")}
    return from_windows(parts["obs"], parts["action"], parts["reward"], parts["next_obs"], **ends)


def mean_or_last(rows: Sequence[Mapping[str, Tensor | float]]) -> dict[str, Tensor | float]:
    """One row for several: the mean of every tensor over those with it, and the last of what is a count."""
    counts = {name: value for row in rows for name, value in row.items() if not isinstance(value, Tensor)}
    tensors = [{name: value for name, value in row.items() if isinstance(value, Tensor)} for row in rows]
    return {**counts, **mean_metrics(tensors)}


def checked_schedule(imagined_steps: Sequence[int]) -> tuple[int, int, int, int]:
    """The four numbers of `imagined_steps`.

    Raises: ValueError if they are not shortest and longest k, and two numbers of env steps in order.
    """
    if len(imagined_steps) != 4:
        raise ValueError(f"imagined_steps must be 4 numbers, got {list(imagined_steps)}")
    shortest, longest, begin, end = imagined_steps
    if not (1 <= shortest <= longest and 0 <= begin < end):
        raise ValueError(
            "imagined_steps must be a shortest k >= 1, a longest, and env steps at which it begins to grow and has "
            f"grown, in order, got {list(imagined_steps)}"
        )
    return shortest, longest, begin, end
