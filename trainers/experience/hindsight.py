"""Hindsight experience replay: relabels transitions with goals that were achieved later."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from diffsim.checks import check_choice, check_values, require
from diffsim.trainers.errors import OptionError
from diffsim.trainers.experience.episode_index import StepIndex
from diffsim.trainers.experience.goals import Goals, find_goals
from diffsim.trainers.experience.replay_batch import ReplayBatch
from diffsim.trainers.experience.replay_buffer import ReplayBuffer
from diffsim.trainers.experience.vector_env import ResumableEnv
from diffsim.trainers.metrics import check_late

Strategy = Literal["final", "future", "episode", "random"]


class HindsightReplay(ReplayBuffer):
    """A replay buffer that replaces the goals of a fraction of each batch and recomputes their rewards.

    The new goal of a step is the goal achieved after another step, sampled uniformly from

        final     the last step of the episode only,
        future    the step itself to the last step of the episode,
        episode   all steps of the episode,
        random    all stored steps.

    The last step of a current episode is the newest so far; the first step of a partly overwritten episode is the
    oldest that is stored. Goals are replaced in the batch, not in the buffer.

    Where the new goal is reached, the episode ends if it would end in the task. An environment says so by
    `compute_terminated(achieved_goal, desired_goal, info)`; one without it, by `success_terminates`: whether reaching
    the goal ends an episode. The goal is reached where the reward is that for achieving the goal exactly. Steps that
    terminated for another reason stay terminal.

    With k relabelled samples for each unchanged one, `relabel_fraction` is k / (k + 1); 0.8 is k = 4, as in the source.

    Args:
        goals: columns of the goals in an observation, and their reward function.
        *args: of `ReplayBuffer`.
        goal_strategy: see above.
        relabel_fraction: fraction of a batch with new goals, in [0, 1]; the number is rounded.
        success_terminates: see above; None if the environment has a `compute_terminated`, or never terminates.
        **kwargs: of `ReplayBuffer`, with "obs" and "next_obs" among its fields, and num_steps = 1.

    Raises: ValueError if an option is out of range.
    Source: Andrychowicz et al. (2017), "Hindsight Experience Replay", sections 3 and 4.5.
    """

    def __init__(
        self,
        goals: Goals,
        *args: Any,
        goal_strategy: Strategy = "future",
        relabel_fraction: float = 0.8,
        success_terminates: bool | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        check_choice("goal_strategy", goal_strategy, get_args(Strategy))
        check_values("in [0, 1]", relabel_fraction=relabel_fraction)
        require(self.num_steps == 1, "num_steps", "1 with a goal_strategy", self.num_steps)
        if goals.terminated is not None:
            rule = "null for an environment with a compute_terminated"
            require(success_terminates is None, "success_terminates", rule, success_terminates)
        self.goals, self.goal_strategy, self.relabel_fraction = goals, goal_strategy, relabel_fraction
        self.success_terminates = success_terminates

    @classmethod
    def of(cls, env: ResumableEnv, replay_size: int, **kwargs: Any) -> HindsightReplay:
        """An empty buffer for an environment with goals, of `replay_size` steps.

        Raises: ValueError if the environment has no goals, or an option is out of range.
        """
        return cls(find_goals(env), replay_size, env.num_envs, env.transition_shapes, **kwargs)

    def add(self, fields: Mapping[str, Tensor]) -> None:
        """Adds one step of every copy.

        Raises: OptionError if one terminated, and nothing says whether that depends on the goal.
        """
        if self.goals.terminated is None and self.success_terminates is None:
            check_late(fields["terminated"].any(), _refuse_termination)
        super().add(fields)

    def sample(self, batch_size: int, generator: torch.Generator) -> ReplayBatch:
        """Samples a batch [B]; its first samples have new goals, with the rewards and terminations of these."""
        steps = self.draw(batch_size, generator)
        row = self.read(steps)
        count = round(self.relabel_fraction * batch_size)
        if count:
            source = self.choose(StepIndex(steps.time[:count], steps.copy[:count]), generator)
            self.relabel(row, self.read(source)["next_obs"][:, self.goals.achieved])
        return self.one_step(row)

    def choose(self, steps: StepIndex, generator: torch.Generator) -> StepIndex:
        """Samples the steps [C] after which the new goals of `steps` [C] were achieved."""
        if self.goal_strategy == "random":
            return self.draw(len(steps.time), generator)
        first, last = self.bounds(steps)
        earliest = {"final": last, "future": steps.time, "episode": first}[self.goal_strategy]
        uniform = torch.rand(len(last), generator=generator, device=self.device, dtype=torch.float64)
        return StepIndex(earliest + (uniform * (last - earliest + 1)).long(), steps.copy)

    def relabel(self, row: dict[str, Tensor], goal: Tensor) -> None:
        """Replaces the goals of the first C samples of `row` by `goal` [C, G], in place."""
        count, goals = len(goal), self.goals
        for name in ("obs", "next_obs"):
            row[name][:count, goals.desired] = goal
        achieved, old_reward = row["next_obs"][:count, goals.achieved], row["reward"][:count].clone()
        row["reward"][:count] = goals.reward(achieved, goal)
        if goals.terminated is not None:
            row["terminated"][:count] = goals.terminated(achieved, goal)
        elif self.success_terminates:
            success, old_success = (r == goals.reward(goal, goal) for r in (row["reward"][:count], old_reward))
            ended = row["terminated"][:count]
            row["terminated"][:count] = torch.where(old_success, 0.0, ended).masked_fill(success, 1.0)


def _refuse_termination() -> None:
    """Raises the error of an episode that terminated for an unknown reason."""
    raise OptionError(
        "success_terminates must be true or false for an environment whose episodes terminate and that has no "
        "compute_terminated(achieved_goal, desired_goal, info), got null"
    )
