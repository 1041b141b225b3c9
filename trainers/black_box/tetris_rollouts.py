"""Rolls out a share of a population in games of Tetris."""

from __future__ import annotations

import torch

from diffsim.policies import LinearChoice, Policy
from diffsim.tetris import TetrisVectorEnv
from diffsim.trainers.black_box.rollouts import Rollouts
from diffsim.trainers.black_box.shares import EpisodeOptions, Recorder
from diffsim.trainers.experience.vector_env import ResumableEnv

ENDLESS = 2**31 - 1


class TetrisRollouts(Rollouts):
    """Games of Tetris. Whole games of `LinearChoice` with mean actions, undiscounted, run in one kernel.

    Args:
        env: N games.
        policy: as for `Rollouts`.
        options: as for `Rollouts`.
    """

    def __init__(self, env: ResumableEnv, policy: Policy, options: EpisodeOptions) -> None:
        super().__init__(env, policy, options)
        assert isinstance(env.env, TetrisVectorEnv)
        self.env, self.weight = env.env, next(policy.parameters())
        limits = [limit for limit in (self.env.max_episode_steps, options.horizon) if limit is not None]
        self.horizon = min([ENDLESS, *limits])
        plain = options.gamma == 1.0 and not options.sampled and not options.record
        self.whole_games = plain and isinstance(policy, LinearChoice)

    def run(self, count: int, scenario: tuple[int, int], seed: int, recorder: Recorder) -> None:
        """Plays the games; each is reset with the seed of its scenario."""
        games, total = self.env.games, count * self.options.episodes
        obs, _ = self.env.reset(seed=[*self.episode_seeds(scenario)])
        if self.whole_games:
            weights = self.policy.parameters["weights"].repeat_interleave(self.options.episodes, 0)
            games.play(weights.to(games.device), self.horizon)
            recorder.set_totals(games.lines[:total], games.time[:total])
            return
        generator = torch.Generator(self.weight.device).manual_seed(seed)
        running = torch.arange(self.env.num_envs) < total
        for _ in range(self.horizon):
            seen = torch.as_tensor(obs).to(self.weight)
            obs, reward, terminated, truncated, _ = self.env.step(self.act(seen, generator).cpu().numpy())
            recorder.add(seen[:total].cpu(), torch.as_tensor(reward[:total]), running[:total])
            running = running & ~torch.as_tensor(terminated | truncated)
            if not running.any():
                return
