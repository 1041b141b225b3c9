"""Rolls out a share of a population: in environments of Gymnasium, or in one batch of a differentiable MDP."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
import torch
from gymnasium.vector import SyncVectorEnv
from torch import Tensor

from diffsim.checks import require
from diffsim.gym import VectorEnv
from diffsim.policies import Policy, as_tensor
from diffsim.structured_actions import taken
from diffsim.trainers.black_box.population_policy import PopulationPolicy
from diffsim.trainers.black_box.shares import Answer, EpisodeOptions, Recorder, Share, derived_seed
from diffsim.trainers.experience.env_faults import env_faults, in_time
from diffsim.trainers.experience.episode_ends import look_times
from diffsim.trainers.experience.rollout import checked_transition, window_checks
from diffsim.trainers.experience.time_limits import episode_limit
from diffsim.trainers.experience.vector_env import ResumableEnv, episode_seed

STRIDE = 16  # fewest steps between two looks on a GPU


class Rollouts(ABC):
    """Evaluates shares of at most K = N / M members, with M episodes each, in N copies of an environment.

    Args:
        env: N copies.
        policy: class and sizes of the members.
        options: how members are evaluated.

    Attributes:
        longest: steps of the longest episode of the last share.

    Raises: ValueError if N is not a multiple of M.
    """

    def __init__(self, env: ResumableEnv, policy: Policy, options: EpisodeOptions) -> None:
        count, episodes = env.num_envs, options.episodes
        require(count % episodes == 0, "num_envs", f"a multiple of episodes = {episodes}", count)
        self.options, self.size, self.longest = options, count // episodes, 0
        self.policy = PopulationPolicy(policy, self.size)
        self.noise_size = policy.noise_size if options.sampled else 0
        self.normalized = policy.normalizer is not None

    @torch.no_grad()
    def __call__(self, share: Share) -> Answer:
        """Runs all episodes of a share.

        Raises: NonFiniteError if a simulation diverges.
        """
        self.policy.load(share.members.vectors(), share.buffers)
        mean = share.buffers["normalizer.mean"] if self.normalized else None
        recorder = Recorder(share.members.count, self.options, mean)
        self.memory = self.policy.initial_memory(self.options.episodes)
        scenario = self.options.scenario(share.generation, share.first)
        seed = derived_seed(self.options.seed, *scenario)
        with window_checks() as checks:
            self.run(share.members.count, scenario, seed, recorder)
            parts = recorder.parts()
            readings = [checks.read(part) for part in parts]  # with the checks, one wait for a GPU
        read = [torch.as_tensor(reading.array).to(part.dtype) for reading, part in zip(readings, parts, strict=True)]
        answer = recorder.answer(*read)
        self.longest = int(answer.lengths.max())
        return answer

    @abstractmethod
    def run(self, count: int, scenario: tuple[int, int], seed: int, recorder: Recorder) -> None:
        """Runs the episodes of `count` members, and records every step.

        Args:
            count: members in the share, at most K.
            scenario: of the first member's first episode.
            seed: of noises that all copies draw together.
            recorder: takes the steps of count * M episodes.
        """

    def episode_seeds(self, scenario: tuple[int, int]) -> list[int]:
        """Seeds of the episodes of all N copies, in [0, 2^32), if the first one has this scenario."""
        period = self.options.episodes if self.options.common_numbers != "none" else self.size * self.options.episodes
        generation, first = scenario
        count = self.size * self.options.episodes
        return [episode_seed(self.options.seed, generation, first + n % period) for n in range(count)]

    def act(self, obs: Tensor, generator: torch.Generator) -> Tensor:
        """Actions of all copies, [N, ...], for their observations [N, O]. Keeps their memory."""
        weight = self.policy.searched[0]
        noise = self.draw(self.noise_size, generator, weight) if self.noise_size else None
        noise = None if noise is None else self.grouped(noise)
        actions, self.memory = self.policy(self.grouped(obs), self.memory, noise)
        return actions.flatten(0, 1)

    def draw(self, size: int, generator: torch.Generator, like: Tensor) -> Tensor:
        """Standard normal numbers of all copies, [N, size]; the same for every member if numbers are common."""
        common = self.options.common_numbers != "none"
        members = 1 if common else self.size
        shape = (members, self.options.episodes, size)
        noise = torch.randn(shape, generator=generator, device=like.device, dtype=like.dtype)
        return noise.expand(self.size, -1, -1).flatten(0, 1)

    def grouped(self, rows: Tensor) -> Tensor:
        """Rows of all copies by member: [N, X] to [K, M, X]."""
        return rows.unflatten(0, (self.size, self.options.episodes))


class GymRollouts(Rollouts):
    """Episodes in environments of Gymnasium, which are stepped one after the other; ended ones are not stepped.

    Episodes end after `LONGEST_EPISODE` steps, with a warning, if neither the environment nor the options have a limit.

    Args:
        env: N copies in a SyncVectorEnv.
        policy: as for `Rollouts`.
        options: as for `Rollouts`.
    """

    def __init__(self, env: ResumableEnv, policy: Policy, options: EpisodeOptions) -> None:
        super().__init__(env, policy, options)
        assert isinstance(env.env, SyncVectorEnv)
        self.env, self.copies, self.limit = env, env.env.envs, episode_limit(env.env)
        self.weight, self.images, self.shown = next(policy.parameters()), policy.encoder is not None, policy

    def run(self, count: int, scenario: tuple[int, int], seed: int, recorder: Recorder) -> None:
        """Runs the episodes; each is reset with the seed of its scenario."""
        total = count * self.options.episodes
        generator = torch.Generator(self.weight.device).manual_seed(seed)
        seeds = self.episode_seeds(scenario)[:total]
        with env_faults(self.copies):
            self.play(total, seeds, generator, recorder)

    def play(self, total: int, seeds: Sequence[int], generator: torch.Generator, recorder: Recorder) -> None:
        """Runs `total` episodes, one in each of the first copies, reset with `seeds`."""
        env = self.env
        with in_time():
            obs = np.stack([env.flat(copy.reset(seed=s)[0]) for copy, s in zip(self.copies, seeds, strict=False)])
        obs = np.concatenate([obs, np.repeat(obs[-1:], env.num_envs - total, 0)])
        reward, running, time = np.zeros(total), np.ones(total, dtype=bool), 0
        while running.any() and time != self.options.horizon:
            seen = torch.tensor(obs, device=self.weight.device) if self.images else as_tensor(self.shown, obs.copy())
            actions, alive = self.act(seen, generator).cpu().numpy(), running.copy()
            with in_time():
                for n in np.flatnonzero(alive):
                    action = taken(env.single_action_space, actions[n])
                    next_obs, reward[n], terminated, truncated, _ = self.copies[n].step(action)
                    obs[n] = env.flat(next_obs)
                    running[n] = not (terminated or truncated)
            recorder.add(seen[:total].cpu(), torch.as_tensor(reward), torch.as_tensor(alive))
            time += 1
            if time >= self.limit.steps and running.any():
                self.limit.warn()
                return


class MDPRollouts(Rollouts):
    """Episodes in one batch of an MDP, such as our simulator. A copy that has ended stays where its episode began.

    Args:
        env: N copies of an MDP.
        policy: as for `Rollouts`.
        options: as for `Rollouts`.
    """

    def __init__(self, env: ResumableEnv, policy: Policy, options: EpisodeOptions) -> None:
        super().__init__(env, policy, options)
        assert isinstance(env.env, VectorEnv)
        self.mdp, limit = env.env.mdp, env.env.max_episode_steps
        self.on_cpu = self.mdp.device.type == "cpu"
        self.horizon = limit if options.horizon is None else min(limit, options.horizon)

    def run(self, count: int, scenario: tuple[int, int], seed: int, recorder: Recorder) -> None:
        """Runs the episodes; initial states and noises come from one generator."""
        mdp, total = self.mdp, count * self.options.episodes
        generator = torch.Generator(mdp.device).manual_seed(seed)
        state = mdp.initial(generator)
        if self.options.common_numbers != "none":
            state = state[: self.options.episodes].repeat(self.size, 1)
        initial, running = state, torch.arange(mdp.num_envs, device=mdp.device) < total
        looks = look_times(1, None) if self.on_cpu else look_times(STRIDE, self.longest, self.horizon)
        look = next(looks)
        with window_checks() as checks:
            for time in range(self.horizon):
                checks.place = time
                obs = mdp.observation(state)
                action = self.act(obs, generator)
                noise = self.draw(mdp.noise_size, generator, state) if mdp.noise_size else None
                reached = checked_transition(mdp, state, action, noise, time)
                recorder.add(obs[:total], mdp.reward(state, action, reached)[:total], running[:total])
                running = running & ~mdp.terminal(reached)
                if time + 1 == look < self.horizon:
                    if not running.any():
                        return
                    look = next(looks)
                state = torch.where(running[:, None], reached, initial)
