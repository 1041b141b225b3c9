"""Base class of algorithms that learn from a vector environment, without its derivatives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from gymnasium.vector import VectorEnv
from torch import Tensor

from diffsim.policies import Policy, StochasticPolicy
from diffsim.trainers.algorithm import Algorithm, Evaluator
from diffsim.trainers.experience.device_collection import collect_on_device, stays_on_device
from diffsim.trainers.experience.remembering import Sampling
from diffsim.trainers.experience.rollout import Actor, Trajectory, collect
from diffsim.trainers.experience.vector_env import ResumableEnv, resumable
from diffsim.trainers.maths.returns import running_returns
from diffsim.trainers.maths.reward_normalizer import RewardNormalizer
from diffsim.trainers.metrics import Metric, Selected, ended_episodes
from diffsim.trainers.options import buffer, given, option


class ModelFree(Algorithm):
    """Acts in N copies of an environment that continue from one iteration to the next, and logs episode returns.

    Attributes:
        memory: [N, M], of a recurrent policy that `sample` carries; saved if M is above 0.
        normalize_reward: whether `scaled_reward` divides rewards by the running standard deviation of the return; an
            option of some subclasses.
    """

    env: VectorEnv = given(
        "N copies: a SyncVectorEnv or AsyncVectorEnv, another one with autoreset mode DISABLED, "
        "ale-py's AtariVectorEnv, or our simulator's."
    )
    policy: Policy = given("the policy to train.")
    gamma: float = option("discount.", "in (0, 1]", default=0.99)
    seed: int = option("seed of random choices and of the environments.", ">= 0", default=0)
    evaluation: Evaluator | None = given(
        "maps the policy to metrics; None for no evaluations.", default=None, kw_only=True
    )

    running_return: Tensor = buffer()
    memory: Tensor = buffer()
    normalize_reward: bool = buffer()

    def setup(self) -> None:
        """Resets the environments."""
        weight = next(self.policy.parameters())
        self.env = resumable(self.env, self.seed)
        self.envs.centered_for(self.policy)
        size = self.policy.memory_size
        self.register_buffer("memory", weight.new_zeros(self.env.num_envs, size), persistent=size > 0)
        self.register_buffer("running_return", weight.new_zeros(self.env.num_envs))
        scaled = getattr(self, "normalize_reward", False)
        self.reward_normalizer = RewardNormalizer(self.env.num_envs, self.gamma).to(weight) if scaled else None
        self.returns_seen: list[Selected] = []

    @property
    def envs(self) -> ResumableEnv:
        """`env`, whose state can be saved in a checkpoint."""
        assert isinstance(self.env, ResumableEnv)
        return self.env

    def collect(self, actor: Actor, noise: Tensor) -> Trajectory:
        """Takes H steps with `actor` from the current states of the environments, with `noise` [H, N, Z]."""
        if stays_on_device(self.envs):
            trajectory = collect_on_device(self.envs, actor, noise)
        else:
            trajectory, _ = collect(self.envs, actor, self.envs.obs, noise)
        total, self.running_return = running_returns(trajectory.reward, trajectory.ended, self.running_return)
        self.returns_seen.append(Selected(total, trajectory.ended))
        self.env_steps += trajectory.reward.numel()
        return trajectory

    def sample(self, policy: StochasticPolicy, horizon: int) -> tuple[Trajectory, Tensor]:
        """Takes `horizon` steps with sampled actions. Returns the trajectory, and the raw samples [H, N, F]."""
        actor = Sampling(policy, self.memory)
        trajectory = self.collect(actor, self.randn(horizon, self.env.num_envs, policy.noise_size))
        self.memory = actor.memory
        return trajectory, torch.stack(actor.samples)

    def scaled_reward(self, trajectory: Trajectory) -> Tensor:
        """The rewards to learn from, [H, N]."""
        if self.reward_normalizer is None:
            return trajectory.reward
        return self.reward_normalizer(trajectory.reward, trajectory.ended)

    def randn(self, *shape: int) -> Tensor:
        """Standard normal numbers, with the device and dtype of the policy's weights."""
        weight = next(self.policy.parameters())
        return torch.randn(shape, generator=self.generator, device=weight.device, dtype=weight.dtype)

    def update_normalizer(self, obs: Tensor) -> None:
        """Updates the observation statistics of the policy, and of networks that share them, by `obs` [..., O]."""
        if self.policy.normalizer is not None:
            self.policy.normalizer.update(obs)

    def episode_metrics(self) -> dict[str, Metric]:
        """Mean return of the episodes that ended since the last call, if any did, and their number.

        Where steps are of several frames, as in Atari games, also the frames so far: "env_frames".
        """
        seen, self.returns_seen = self.returns_seen, []
        found = ended_episodes(*map(torch.cat, zip(*seen, strict=True))) if seen else {}
        frames = self.envs.frames_per_step
        return {**found, "env_frames": self.env_steps * frames} if frames > 1 else found

    def training_state(self) -> dict[str, Any]:
        """Adds the states of the environments."""
        return {**super().training_state(), "env": self.envs.state_dict()}

    def load_training_state(self, saved: Mapping[str, Any]) -> None:
        """Restores what `training_state` returned."""
        super().load_training_state(saved)
        self.envs.load_state_dict({name: value.cpu() for name, value in saved["env"].items()})
