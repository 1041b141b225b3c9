"""Hindsight experience replay: what an episode reached instead of its goal is taken for its goal."""

from __future__ import annotations

from typing import Any, Literal, get_args

import torch
from torch import Tensor

from diffsim.trainers.experience.goals import Goals, find_goals
from diffsim.trainers.experience.replay_buffer import ReplayBatch, ReplayBuffer, Steps
from diffsim.trainers.experience.vector_env import ResumableEnv
from diffsim.trainers.ranges import require, unit_interval

Strategy = Literal["final", "future", "episode", "random"]


class HindsightReplay(ReplayBuffer):
    """A replay that puts other goals into a part of what it draws, and asks the environment for their rewards.

    The new goal of a step of an episode is one that was achieved, after a step drawn uniformly

        final     the episode's last one,
        future    from the step itself to the episode's last one,
        episode   from the whole episode,
        random    from all that is stored.

    Of an episode under way, the last step is the newest so far; of one whose beginning was overwritten, the first is
    the oldest that is left. Goals change when a batch is drawn: what is stored is what happened.

    With k relabelled samples for each one as it was, `relabel_fraction` is k / (k + 1); 0.8 is the k = 4 of the
    source.

    Args:
        goals: where goals are in an observation, and what reaching one is worth.
        goal_strategy: see above.
        relabel_fraction: part of a batch with new goals, rounded to whole samples, in [0, 1].
        *args: of `ReplayBuffer`.
        **kwargs: of `ReplayBuffer`, with "obs" and "next_obs" among its fields, and num_steps = 1.

    Raises: ValueError if an option is out of range.
    Source: Andrychowicz et al. (2017), "Hindsight Experience ReplayBuffer", sections 3 and 4.5.
    """

    def __init__(
        self, goals: Goals, goal_strategy: Strategy = "future", relabel_fraction: float = 0.8, *args: Any, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        valid = get_args(Strategy)
        require(goal_strategy in valid, "goal_strategy", f"one of {', '.join(valid)}", repr(goal_strategy))
        unit_interval("[]", relabel_fraction=relabel_fraction)
        require(self.num_steps == 1, "num_steps", "1 with a goal_strategy", self.num_steps)
        self.goals, self.goal_strategy, self.relabel_fraction = goals, goal_strategy, relabel_fraction

    @classmethod
    def of(
        cls,
        env: ResumableEnv,
        replay_size: int,
        *,
        goal_strategy: Strategy = "future",
        relabel_fraction: float = 0.8,
        **kwargs: Any,
    ) -> HindsightReplay:
        """An empty one for an environment with goals.

        Args:
            env: N copies.
            replay_size: steps kept.
            goal_strategy: see above.
            relabel_fraction: see above.
            **kwargs: of `ReplayBuffer`.

        Raises: ValueError if the environment has no goals, or an option is out of range.
        """
        obs, action = (tuple(space.shape or ()) for space in (env.single_observation_space, env.single_action_space))
        fields = {"obs": obs, "action": action, "next_obs": obs}
        return cls(find_goals(env), goal_strategy, relabel_fraction, replay_size, env.num_envs, fields, **kwargs)

    def sample(self, batch_size: int, generator: torch.Generator) -> ReplayBatch:
        """Draws a batch [B], its first samples with new goals, and with the rewards and ends that these have."""
        steps = self.draw(batch_size, generator)
        row = self.read(steps)
        count = round(self.relabel_fraction * batch_size)
        if count:
            chosen = self.choose(Steps(steps.time[:count], steps.copy[:count]), generator)
            self.relabel(row, self.read(chosen)["next_obs"][:, self.goals.achieved])
        return self.one_step(row)

    def choose(self, steps: Steps, generator: torch.Generator) -> Steps:
        """After which step the new goal of each of `steps` [C] was achieved: [C]."""
        if self.goal_strategy == "random":
            return self.draw(len(steps.time), generator)
        first, last = self.bounds(steps)
        earliest = {"final": last, "future": steps.time, "episode": first}[self.goal_strategy]
        uniform = torch.rand(len(last), generator=generator, device=self.device, dtype=torch.float64)
        return Steps(earliest + (uniform * (last - earliest + 1)).long(), steps.copy)

    def relabel(self, row: dict[str, Tensor], goal: Tensor) -> None:
        """Puts `goal` [C, G] into the first C samples of `row`, in place."""
        count, goals = len(goal), self.goals
        for name in ("obs", "next_obs"):
            row[name][:count, goals.desired] = goal
        achieved = row["next_obs"][:count, goals.achieved]
        row["reward"][:count] = goals.reward(achieved, goal)
        if goals.terminated is not None:
            row["terminated"][:count] = goals.terminated(achieved, goal)
