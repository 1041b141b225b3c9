"""A task of your own: an MJCF model with reset, observation and reward, each written once, in torch.

python -m examples.own_task                    # compares the simulator with C MuJoCo
diffsim fit --task examples.own_task:CartBalance-v0 --algorithm SHAC --policy DeterministicMLP
"""

from pathlib import Path

import torch
from torch import Tensor

import diffsim
from diffsim.tasks import Task


class CartBalance(Task):
    """Balance a pole on a cart near the middle of the rail."""

    xml_file, frame_skip, max_episode_steps = Path(__file__).with_name("cart_balance.xml"), 2, 200

    def reset_model(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Nearly upright, at rest: qpos [N, 2] (m, rad) and qvel [N, 2]."""
        return self.uniform(2, 0.2, generator), self.uniform(2, 0.05, generator)

    def observation(self, state: Tensor) -> Tensor:
        """Positions and velocities: [N, 4]."""
        return state

    def reward(self, state: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
        """One, less costs of angle, position and force: [N]."""
        return 1 - next_state[:, 1] ** 2 - 0.1 * next_state[:, 0] ** 2 - 0.01 * action[:, 0] ** 2

    def terminal(self, state: Tensor) -> Tensor:
        """The pole fell: bool [N]."""
        return state[:, 1].abs() > 0.8


if __name__ == "__main__":
    print(diffsim.check_task(CartBalance))
