# %% [markdown]
# # Your robot
#
# This script takes an MJCF file, asks whether the simulator supports it, makes a task of it, checks the task
# against C MuJoCo, and trains a policy. Replace the file by that of your robot. It takes about a minute on one
# CPU core.

# %%
from pathlib import Path

import mujoco
import torch
from torch import Tensor

import diffsim
from diffsim.policies import DeterministicMLP
from diffsim.tasks import Task
from diffsim.trainers import BPTT

ITERATIONS = 150
FOLDER = Path("runs/tutorials/own_robot")
torch.manual_seed(0)
torch.set_num_threads(1)

# %% [markdown]
# ## The robot
#
# An arm with two links that hangs in gravity, with motors at both joints, and a site at its tip.

# %%
MJCF = """
<mujoco>
  <option timestep="0.01" integrator="implicitfast"/>
  <worldbody>
    <body pos="0 0 1">
      <joint name="shoulder" type="hinge" axis="0 1 0" damping="0.5"/>
      <geom type="capsule" size="0.04" fromto="0 0 0 0 0 -0.4" mass="1" contype="0" conaffinity="0"/>
      <body pos="0 0 -0.4">
        <joint name="elbow" type="hinge" axis="0 1 0" damping="0.5"/>
        <geom type="capsule" size="0.03" fromto="0 0 0 0 0 -0.4" mass="0.5" contype="0" conaffinity="0"/>
        <site name="tip" pos="0 0 -0.4"/>
      </body>
    </body>
  </worldbody>
  <actuator>
    <motor joint="shoulder" gear="12" ctrlrange="-1 1"/>
    <motor joint="elbow" gear="6" ctrlrange="-1 1"/>
  </actuator>
</mujoco>
"""
FOLDER.mkdir(parents=True, exist_ok=True)
(FOLDER / "arm.xml").write_text(MJCF)

# %% [markdown]
# ## Is it supported?
#
# A model with features that are not supported raises `UnsupportedModelError`, with a list of them. See [what is
# supported](../../docs/features.md).

# %%
model = diffsim.Model.from_mjcf(FOLDER / "arm.xml")
print(f"supported: {model.nq} positions, {model.nv} velocities, {model.nu} motors")


# %% [markdown]
# ## The task
#
# Reset, observation, reward and termination are written once, in torch, with a row per copy. The reward is a
# smooth function of the state: the distance of the tip from a target in front of the arm. Distances come from the
# joint angles here; for larger robots a task can read `xpos` and sensors from the
# [simulator](../../docs/sensors.md).


# %%
class Reach(Task):
    """Hold the tip at a point 0.5 m in front of the shoulder, and 0.2 m above it."""

    xml_file, frame_skip, max_episode_steps = (FOLDER / "arm.xml").absolute(), 2, 100

    def reset_model(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Hanging, within 0.2 rad, nearly at rest: qpos [N, 2] and qvel [N, 2]."""
        return self.uniform(2, 0.2, generator), self.uniform(2, 0.05, generator)

    def observation(self, state: Tensor) -> Tensor:
        """Cosines and sines of the joint angles, velocities: [N, 6]."""
        return torch.cat([state[:, :2].cos(), state[:, :2].sin(), state[:, 2:]], dim=1)

    def reward(self, state: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
        """Minus the distance of the tip from the target in m, and a small cost of torques: [N]."""
        distance = (self.tip(next_state) - torch.tensor([0.5, 0.2], dtype=state.dtype)).square().sum(1).sqrt()
        return -distance - 0.01 * action.square().sum(1)

    def tip(self, state: Tensor) -> Tensor:
        """Position of the tip from the shoulder, x and z: [N, 2]."""
        first, second = state[:, 0], state[:, 0] + state[:, 1]
        return torch.stack([-0.4 * (first.sin() + second.sin()), -0.4 * (first.cos() + second.cos())], dim=1)

    def terminal(self, state: Tensor) -> Tensor:
        """Never: bool [N]."""
        return torch.zeros(len(state), dtype=torch.bool)


# %% [markdown]
# ## The check
#
# `check_task` compares the simulator with the environment on C MuJoCo, and gradients with finite differences.

# %%
report = diffsim.check_task(Reach)
print(report)

# %% [markdown]
# ## Training
#
# BPTT differentiates the whole second of an episode. `train_iteration` does one update; `diffsim.trainers.fit`
# also keeps checkpoints and metrics.

# %%
mdp = diffsim.make(Reach, num_envs=32)
policy = DeterministicMLP(mdp.observation_space, mdp.action_space, hidden_sizes=(64, 64)).to(mdp.dtype)
algorithm = BPTT(mdp, policy, horizon=50, start="per_iteration", learning_rate=3e-3)
for _ in range(ITERATIONS):
    algorithm.train_iteration()

# %% [markdown]
# ## The policy on C MuJoCo
#
# Here without Gymnasium and without the simulator, as on a robot: read the state, ask the policy, write the
# controls.

# %%
robot = mujoco.MjModel.from_xml_path(str(FOLDER / "arm.xml"))
data = mujoco.MjData(robot)
for _ in range(100):
    state = torch.tensor([[*data.qpos, *data.qvel]], dtype=mdp.dtype)
    with torch.no_grad():
        data.ctrl[:] = policy(mdp.observation(state))[0].numpy()
    mujoco.mj_step(robot, data, nstep=2)
mujoco.mj_forward(robot, data)
tip = data.site("tip").xpos - [0, 0, 1]
miss = ((tip[0] - 0.5) ** 2 + (tip[2] - 0.2) ** 2) ** 0.5
print(f"after 2 s the tip is {miss:.3f} m from the target")

# %% [markdown]
# ## What it prints
#
# ```text
# supported: 2 positions, 2 velocities, 2 motors
# Reach: 16 worlds, 50 steps, float32
#   ok    action space: 2 actions
#   ok    shapes and types
#   ok    reset
#   ok    pure functions
#   ok    each world on its own
#   ok    values against C MuJoCo: largest difference 1.3e-07, 1e-03 allowed
#   ok    gradient of transition: 32 points
#   ok    gradient of reward: 48 points
#   ok    gradient of observation: 16 points
#   ok    evaluation environment: 10 steps
# ok
# after 2 s the tip is 0.002 m from the target
# ```
