"""G1Walk-v0: what it adds to `LeggedWalk`, which Go1Walk-v0's tests cover."""

import gymnasium
import mujoco
import numpy as np
import pytest
import torch

import diffsim
from diffsim.tasks.g1.walk import WEIGHTS

from .reference import converge

FREE_TO_SWING = ("hip_pitch", "knee", "ankle_pitch")


@pytest.fixture(scope="module")
def mdp():
    return diffsim.make("G1Walk-v0", num_envs=2)


def test_the_home_pose_stands_with_both_soles_on_the_ground(mdp):
    model, data = mdp.mj_model, mujoco.MjData(mdp.mj_model)
    data.qpos[:] = mdp.init_qpos
    mujoco.mj_forward(model, data)
    feet = [i for i in range(model.ngeom) if model.geom_type[i] == mujoco.mjtGeom.mjGEOM_SPHERE]
    lowest = data.geom_xpos[feet, 2] - model.geom_size[feet, 0]
    assert len(feet) == 8 and np.abs(lowest).max() < 1.5e-3
    assert np.abs([data.site(name).xpos[2] - mdp.sole for name in mdp.feet]).max() < 2e-3
    assert data.ncon == (lowest < 0).sum(), "no part of the robot touches another"


def test_position_actuators_are_critically_damped_springs(mdp):
    model = mdp.mj_model
    assert (model.actuator_gainprm[:, 0] == 200).all() and (model.actuator_biasprm[:, 1] == -200).all()
    shipped = 10.318640792514142  # N m s/rad at the left hip's pitch, where the stiffness is 500
    assert model.actuator_biasprm[0, 2] == pytest.approx(-shipped * (200 / 500) ** 0.5, rel=1e-5)


def test_terms_at_states_of_c_mujoco(mdp):
    env = gymnasium.make("G1Walk-v0").unwrapped
    converge(env.model)
    env.reset(seed=3)
    rng, model, data = np.random.default_rng(3), env.model, env.data
    kept = np.array([not any(part in model.joint(j).name for part in FREE_TO_SWING) for j in range(1, model.njnt)])
    assert kept.sum() == 29 - 6
    low, high = model.actuator_ctrlrange.T
    home, touched = mdp.home.numpy(), 0
    for _ in range(12):
        state, action = env.state.to(mdp.dtype), np.clip(home + 0.1 * rng.standard_normal(29), low, high)
        obs, reward, *_ = env.step(action)
        mujoco.mj_forward(model, data)
        touched += data.ncon > 0
        reached = env.state.to(mdp.dtype)
        found = mdp.terms(*(x.expand(2, -1) for x in (state, torch.tensor(action[None], dtype=mdp.dtype), reached)))
        terms = {name: values[0].item() for name, values in found.items()}
        rotation, angles = data.xmat[1].reshape(3, 3), data.qpos[7:] - home
        torque = np.clip(data.actuator_force, *model.jnt_actfrcrange[model.actuator_trnid[:, 0]].T)
        assert terms["posture"] == pytest.approx((angles[kept] ** 2).sum(), rel=1e-6)
        assert terms["torque"] == pytest.approx((torque**2).sum(), rel=1e-6)
        assert terms["tilt"] == pytest.approx((rotation[2, :2] ** 2).sum(), rel=1e-6, abs=1e-12)
        assert reward == pytest.approx(sum(WEIGHTS[name] * value for name, value in terms.items()), rel=1e-5)
        assert obs.shape == (101,)
        assert obs[:3] == pytest.approx(rotation.T @ data.qvel[:3], rel=1e-6, abs=1e-9)
    assert touched > 6
