"""Double deep Q-learning."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import smooth_l1_loss
from torch.optim import Adam, Optimizer

from diffsim.policies import DiscreteQMLP
from diffsim.policies.encoder import NATURE_CONVOLUTIONS
from diffsim.trainers.experience.replay_batch import ReplayBatch
from diffsim.trainers.maths.polyak import polyak_update, target_network
from diffsim.trainers.options import buffer, option
from diffsim.trainers.value_gradient.off_policy import OffPolicy
from diffsim.trainers.value_gradient.optimizer_step import OptimizerStep


class DQN(OffPolicy):
    """Double deep Q-learning for discrete actions, with epsilon-greedy exploration.

        minimise mean huber(Q(o, u) - y),    y = r + gamma Q'(o', argmax_u Q(o', u)),   y = r where o' is terminal
        target   Q' <- target_rate * Q' + (1 - target_rate) * Q

    The policy is Q itself, a `DiscreteQMLP`. Q chooses the next action, and the target network Q' evaluates it.

    For Atari games network, warm-up, batches, exploration and updates per step are those of Mnih et al. (2015), with a
    replay buffer of 100,000 steps, 2.6 GiB, in place of a million, and Adam in place of RMSprop.

    Source: Mnih et al. (2015), "Human-level control through deep reinforcement learning"; van Hasselt, Guez & Silver
    (2016), "Deep Reinforcement Learning with Double Q-learning". Averaged target networks: Lillicrap et al. (2016).
    """

    run_defaults = {"num_envs": 1, "evaluate_every": 10, "policy": "DiscreteQMLP"}
    image_defaults = {"convolutions": NATURE_CONVOLUTIONS, "hidden_sizes": (512,), "replay_size": 100_000}
    atari_defaults = {
        "evaluate_every_steps": 250_000,
        "evaluate_episodes": 1,
        "warmup_steps": 50_000,
        "updates_per_step": 0.25,
        "batch_size": 32,
        "learning_rate": 1e-4,
        "target_rate": 0.999,
        "exploration_env_steps": 250_000,
        "final_exploration_rate": 0.1,
    }

    exploration_rate: float = option("probability of a random action after the warm-up.", "in [0, 1]", default=1.0)
    final_exploration_rate: float = option("value that this probability falls to.", "in [0, 1]", default=0.05)
    exploration_env_steps: int = option(
        "env steps after the warm-up over which it falls linearly to that value.", ">= 1", default=10_000
    )
    batch_size: int = option(default=128)
    learning_rate: float = option(default=1e-3)

    critic: DiscreteQMLP = buffer()  # the policy; there is no other network to set options of
    critic_learning_rate: float = buffer()
    critic_weight_decay: float = buffer()
    critic_hidden_sizes: Sequence[int] = buffer()
    critic_layer_norm: bool = buffer()

    def setup(self) -> None:
        """Makes replay buffer and target network."""
        super().setup()
        self.target_critic = target_network(self.q)

    def check_actions(self) -> None:
        """Checks that the policy is a Q function of discrete actions."""
        assert self.q

    def make_critic(self) -> DiscreteQMLP:
        """The policy."""
        return self.q

    def make_optimizers(self) -> list[Optimizer]:
        """Adam."""
        return [Adam(self.q.parameters(), lr=self.learning_rate, fused=True)]

    @property
    def q(self) -> DiscreteQMLP:
        """The policy, as the Q function that it is.

        Raises: TypeError if it is another policy.
        """
        if not isinstance(self.policy, DiscreteQMLP):
            raise TypeError(f"policy must be a DiscreteQMLP, got {type(self.policy).__name__}")
        return self.policy

    @property
    def present_exploration_rate(self) -> float:
        """Probability of a random action, at the present number of env steps."""
        progress = min(max((self.env_steps - self.warmup_steps) / self.exploration_env_steps, 0.0), 1.0)
        return self.exploration_rate + (self.final_exploration_rate - self.exploration_rate) * progress

    def explore(self, obs: Tensor) -> Tensor:
        """Greedy actions, some replaced by random ones: [N]."""
        uniform = torch.rand(len(obs), generator=self.generator, device=obs.device)
        return torch.where(uniform < self.present_exploration_rate, self.random_action(obs), self.q(obs))

    def random_action(self, obs: Tensor) -> Tensor:
        """Uniformly random actions, one for each of `obs` [N, O]: int64 [N]."""
        shape = (len(obs),)
        index = torch.randint(self.q.num_actions, shape, generator=self.generator, device=obs.device)
        return self.q.first_action + index

    def learn(self, steps: Sequence[OptimizerStep], batch: ReplayBatch) -> dict[str, Tensor]:
        """Updates Q, then the target network."""
        with torch.no_grad():
            best = self.q.values(batch.next_obs).argmax(-1, keepdim=True)
            next_value = self.target_critic.values(batch.next_obs).gather(-1, best)[:, 0]
            target = batch.reward + batch.discount * next_value
        index = batch.action.long()[:, None] - self.q.first_action
        value = self.q.values(batch.obs).gather(-1, index)[:, 0]
        loss = smooth_l1_loss(value, target)
        steps[0](loss)
        polyak_update(self.target_critic, self.q, self.target_rate)
        return {"critic_loss": loss.detach(), "value": value.detach().mean()}
