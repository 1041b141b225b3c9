"""What all tasks of rllab's benchmark share: start, actions, inertia of capsules, forces after a step."""

import math

import mujoco
import numpy as np
import pytest
import torch

import diffsim
from diffsim.tasks.rllab.rllab_task import RllabTask

from .engine import tensors

LEG = """
<mujoco>
  <worldbody>
    <body>
      <joint name="lift" type="slide" axis="0 0 1"/>
      <joint name="turn" range="-90 90" limited="true"/>
      <geom type="capsule" size="0.1" fromto="0 0 0 0 0.3 0.4" density="500"/>
    </body>
  </worldbody>
  <actuator><motor joint="turn" gear="40" ctrlrange="-1 1" ctrllimited="true"/></actuator>
</mujoco>
"""


class Leg(RllabTask):
    xml_file = LEG
    position_indices = (0, 1)

    def observation(self, state):
        return state

    def reward(self, state, action, next_state):
        return -self.squared_action(action)


def test_start_and_actions():
    mdp = Leg(num_envs=20_000)
    state = mdp.initial(torch.Generator().manual_seed(0))
    # Five standard errors: of the mean, 1 / sqrt(n), and of the standard deviation, 1 / sqrt(2 n).
    std = torch.tensor([0.01, 0.01, 0.1, 0.1]).to(state)
    assert ((state.mean(0) / std).abs() < 5 / math.sqrt(20_000)).all()
    assert ((state.std(0) / std - 1).abs() < 5 / math.sqrt(40_000)).all()
    assert mdp.max_episode_steps == 500 and (mdp.action_space.low, mdp.action_space.high) == (-1, 1)
    action = torch.tensor([[0.5], [-3.0]]).to(state)
    assert Leg(num_envs=2).reward(None, action, None).tolist() == [-0.25, -1.0]
    with pytest.raises(ValueError, match=r"limit every control to \[-1, 1\], got ctrlrange \[\[-1.0, 2.0\]\]"):
        Leg(xml_file=LEG.replace('ctrlrange="-1 1"', 'ctrlrange="-1 2"'))


def test_a_capsules_inertia_is_that_of_a_longer_cylinder():
    """Radius 0.1, length 0.5 + 0.1, along (0, 0.6, 0.8); also where the mass is given."""
    for text, mass in ((LEG, 500 * math.pi * 0.1**2 * 0.6), (LEG.replace('density="500"', 'mass="3"'), 3.0)):
        model = Leg(xml_file=text).mj_model
        assert model.body_mass[1] == pytest.approx(mass)
        across = mass * (3 * 0.1**2 + 0.6**2) / 12
        np.testing.assert_allclose(model.body_inertia[1], [across, across, mass * 0.1**2 / 2])
        np.testing.assert_allclose(model.body_ipos[1], [0, 0.15, 0.2])
        axis = np.zeros(9)
        mujoco.mju_quat2Mat(axis, model.body_iquat[1])
        np.testing.assert_allclose(np.abs(axis.reshape(3, 3)[:, 2]), [0, 0.6, 0.8], atol=1e-12)


def test_forces_are_those_of_the_state_reached():
    """A cart that a step pushes against the end of its rail: the force at the new state, by `mj_forward`."""
    mdp = diffsim.make("RllabDoublePendulum-v0", num_envs=1)
    start = mdp.state_at(*tensors(np.array([[9.98, 0.1, -0.2]]), np.array([[1.5, 0.3, 0.2]])))
    (action,) = tensors(np.array([[0.7]]))
    obs = mdp.observation(mdp.transition(start, action))
    data = mujoco.MjData(mdp.mj_model)
    data.qpos[:], data.qvel[:], data.ctrl[:] = start[0, :3], start[0, 3:6], 0.7
    mujoco.mj_step(mdp.mj_model, data, nstep=2)
    before = data.qfrc_constraint.copy()
    mujoco.mj_forward(mdp.mj_model, data)
    force = data.qfrc_constraint
    assert abs(force[0]) > 10 and abs(before[0] - force[0]) > 1
    state = mdp.transition(start, action)
    np.testing.assert_allclose(mdp.split(state)[2][0], force, rtol=1e-9, atol=1e-9)
    expected = [
        data.qpos[0],
        *np.sin(data.qpos[1:]),
        *np.cos(data.qpos[1:]),
        *np.clip(data.qvel, -10, 10),
        *np.clip(force, -10, 10),
    ]
    np.testing.assert_allclose(obs[0], expected, rtol=1e-9, atol=1e-9)
