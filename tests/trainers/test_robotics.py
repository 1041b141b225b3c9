"""gymnasium-robotics: the incompatibility with MuJoCo, and Fetch as an environment with goals."""

import mujoco
import numpy as np
import pytest
import torch

from diffsim.trainers.experience.goals import find_goals, make_official
from diffsim.trainers.experience.robotics import PlainEnums
from diffsim.trainers.experience.vector_env import make_env

HINGE = "<mujoco><worldbody><body><joint/><geom size='0.1'/></body></worldbody></mujoco>"


def test_plain_enums_compare_equal_to_numbers_of_a_model():
    joint_type = mujoco.MjModel.from_xml_string(HINGE).jnt_type[0]
    patched = PlainEnums()
    assert joint_type in (patched.mjtJoint.mjJNT_SLIDE, patched.mjtJoint.mjJNT_HINGE)
    assert joint_type not in (patched.mjtJoint.mjJNT_FREE, patched.mjtJoint.mjJNT_BALL)
    assert patched.mjtEq.mjEQ_WELD == int(mujoco.mjtEq.mjEQ_WELD)
    assert patched.mj_step is mujoco.mj_step and patched.mjtObj is mujoco.mjtObj


@pytest.mark.parametrize("task", ["FetchReach-v4", "FetchPush-v4"])
def test_fetch(task):
    pytest.importorskip("gymnasium_robotics")
    # The gripper follows the action, by at most 0.05 m per step.
    env = make_official(task)
    start, _ = env.reset(seed=0)
    for _ in range(4):
        obs, *_, info = env.step(np.array([0.0, 1.0, 0.0, 0.0]))
    assert obs[6 + 1] - start[6 + 1] > 0.05 and "is_success" in info
    env.close()

    vector = make_env(task, 2, seed=0)
    goals = find_goals(vector)
    _, reward, *_ = vector.step(np.zeros((2, 4)))
    before = vector.obs
    obs = torch.as_tensor(before)
    achieved, desired = obs[:, goals.achieved], obs[:, goals.desired]
    assert goals.reward(achieved, desired).tolist() == reward.tolist()
    assert goals.reward(achieved, achieved).tolist() == [0.0, 0.0]
    assert goals.terminated(achieved, achieved).tolist() == [0.0, 0.0]
    saved = vector.state_dict()
    again = make_env(task, 2, seed=0)
    again.step(np.ones((2, 4)))
    again.load_state_dict(saved)
    np.testing.assert_array_equal(again.obs, before)
