"""rllab's locomotion tasks against C MuJoCo, and rllab's definitions written out in NumPy."""

from math import hypot, pi, sqrt

import gymnasium
import mujoco
import numpy as np
import pytest
import torch

import diffsim
from diffsim.tasks.rllab.kinematics import Kinematics

from .reference import converge


def capsule(radius: float, length: float, density: float = 1000.0) -> float:
    """Mass of a capsule as MuJoCo 1.3 computed it, from the length of its middle section."""
    return density * pi * radius**2 * (length + radius)


def sphere(radius: float, density: float = 1000.0) -> float:
    return density * 4 / 3 * pi * radius**3


LEG = capsule(0.05, 0.45) + capsule(0.04, 0.5)
ANT_LEG = 2 * capsule(0.08, 0.2 * sqrt(2), 5) + capsule(0.08, 0.4 * sqrt(2), 5)
ARM = capsule(0.04, 0.16 * sqrt(3)) + capsule(0.031, 0.16 * sqrt(3)) + sphere(0.04)
HUMANOID_LEG = capsule(0.06, hypot(0.01, 0.34)) + capsule(0.049, 0.3) + 2 * capsule(0.027, hypot(0.21, 0.02))
TRUNK = capsule(0.07, 0.14) + sphere(0.09) + 2 * capsule(0.06, 0.12) + capsule(0.09, 0.14)

# Mass (kg), degrees of freedom, controls, time of an action (s).
MODELS = {
    "RllabSwimmer-v0": (3 * capsule(0.1, 1), 5, 2, 0.05),
    "RllabHopper-v0": (capsule(0.05, 0.4) + LEG + capsule(0.06, 0.39), 6, 3, 0.02),
    "RllabWalker2d-v0": (capsule(0.05, 0.4) + 2 * (LEG + capsule(0.06, 0.2)), 9, 6, 0.005),
    "RllabHalfCheetah-v0": (14.0, 9, 6, 0.01),
    "RllabAnt-v0": (sphere(0.25, 5) + 4 * ANT_LEG, 14, 8, 0.02),
    "RllabSimpleHumanoid-v0": (8.32208 + 7.88854 + 2 * (5.37761 + 3.10016 + sphere(0.075) + 1.59406), 16, 10, 0.01),
    "RllabHumanoid-v0": (TRUNK + 2 * (HUMANOID_LEG + ARM), 27, 21, 0.008),
}
OBSERVED = dict(zip(MODELS, (13, 20, 21, 20, 125, 102, 142), strict=True))
"""Sizes of observations in the supplement of Duan et al. (2016)."""
every_task = pytest.mark.parametrize("id", MODELS)


def written_in_numpy(id: str, d: mujoco.MjData, action: np.ndarray) -> tuple[np.ndarray, float, bool]:
    """Observation, reward and end as rllab's sources define them, from C MuJoCo's data after `mj_forward`."""
    com, v, q = d.subtree_com[1], d.subtree_linvel[1], d.qpos
    cost = (np.clip(action, -1, 1) ** 2).sum()
    touch = np.clip(d.cfrc_ext, -1, 1).ravel()
    name = id.removeprefix("Rllab").removesuffix("-v0")
    if name == "Swimmer":
        return np.concatenate([q, d.qvel, com]), v[0] - 0.005 * cost, False
    if name == "Hopper":
        parts = [q[:1], q[2:], np.clip(d.qvel, -10, 10), np.clip(d.qfrc_constraint, -10, 10), com]
        rest = np.concatenate([q, d.qvel])[3:]
        alive = q[0] > 0.7 and abs(q[2]) < 0.2 and (np.abs(rest) < 100).all()
        return np.concatenate(parts), v[0] + 1 - 0.005 * cost, not alive
    if name == "Walker2d":
        return np.concatenate([q, d.qvel, com]), v[0] - 0.005 * cost, not (0.8 < q[0] < 2 and -1 < q[2] < 1)
    if name == "HalfCheetah":
        return np.concatenate([q[1:], d.qvel, com]), v[0] - 0.05 * cost, False
    if name == "Ant":
        reward = v[0] - 0.005 * cost - 0.0005 * (touch**2).sum() + 0.05
        return np.concatenate([q, d.qvel, touch, d.xmat[1], com]), reward, not 0.2 <= q[2] <= 1
    reward = v[0] + 0.2 - 0.0005 * cost - 0.000005 * (touch**2).sum() - 0.005 * (v[1] ** 2 + v[2] ** 2)
    return np.concatenate([q, d.qvel, touch, com]), reward, not 0.8 <= q[2] <= 2


@every_task
def test_an_episode_on_both_engines_and_written_in_numpy(id):
    env = gymnasium.make(id).unwrapped
    converge(env.model)
    env.reset(seed=3)
    rng = np.random.default_rng(3)
    mdp = diffsim.make(id)
    state = mdp.state_at(*(torch.tensor(x[None]) for x in (env.data.qpos, env.data.qvel)))
    assert mdp.observation_space.shape == (OBSERVED[id],)
    touched = False
    for _ in range(60):
        action = rng.uniform(-1.2, 1.2, env.model.nu)
        obs, reward, terminated, _, _ = env.step(action)
        mujoco.mj_forward(env.model, env.data)
        mujoco.mj_rnePostConstraint(env.model, env.data)
        mujoco.mj_subtreeVel(env.model, env.data)
        touched |= env.data.ncon > 0
        expected = written_in_numpy(id, env.data, action)
        np.testing.assert_allclose(obs, expected[0], rtol=1e-11, atol=1e-11)
        assert (reward, terminated) == (pytest.approx(expected[1], rel=1e-11, abs=1e-11), expected[2])
        act = torch.tensor(action[None])
        next_state = mdp.transition(state, act)
        np.testing.assert_allclose(mdp.observation(next_state)[0], obs, rtol=1e-8, atol=1e-8)
        assert mdp.reward(state, act, next_state).item() == pytest.approx(reward, rel=1e-8, abs=1e-8)
        assert mdp.terminal(next_state).item() == terminated
        state = next_state
    assert touched or id == "RllabSwimmer-v0"


@every_task
def test_gradients_and_promises_of_a_task(id):
    report = diffsim.check_task(id, num_envs=3, num_steps=8, tolerance=1e-7)  # 1e-6 for gradients
    assert report.ok, str(report)


@every_task
def test_masses_times_and_positions(id):
    mdp = diffsim.make(id)
    mass, nv, nu, dt = MODELS[id]
    assert mdp.mj_model.body_mass.sum() == pytest.approx(mass, rel=1e-12)
    assert (mdp.mj_model.nv, mdp.mj_model.nu, mdp.max_episode_steps) == (nv, nu, 500)
    assert mdp.dt == pytest.approx(dt)
    positions = np.array(mdp.position_indices)
    obs = mdp.observation(mdp.rest_state())[0, positions]
    hidden = {"RllabHopper-v0": [1], "RllabHalfCheetah-v0": [0]}.get(id, [])
    np.testing.assert_array_equal(obs, np.delete(mdp.rest_state()[0, : mdp.mj_model.nq].numpy(), hidden))


def test_resets():
    mdp = diffsim.make("RllabAnt-v0", num_envs=2000)
    qpos, qvel = mdp.reset_model(torch.Generator().manual_seed(0))
    stance = [0, 0, 0.55, 1, 0, 0, 0, 0, 1, 0, -1, 0, -1, 0, 1]
    np.testing.assert_allclose(qpos.mean(dim=0), stance, atol=5 * 0.01 / 2000**0.5)
    np.testing.assert_allclose(qpos.std(dim=0), 0.01, rtol=0.1)
    np.testing.assert_allclose(qvel.mean(dim=0), 0, atol=5 * 0.1 / 2000**0.5)
    np.testing.assert_allclose(qvel.std(dim=0), 0.1, rtol=0.1)


@pytest.mark.parametrize(
    ("id", "index", "ends", "goes_on"),
    [
        ("RllabHopper-v0", 0, [0.7, 0.69], [0.71]),
        ("RllabHopper-v0", 2, [-0.2, 0.2], [-0.19, 0.19]),
        ("RllabHopper-v0", 11, [100.0, -101.0], [99.0]),
        ("RllabWalker2d-v0", 0, [0.8, 2.0], [0.81, 1.99]),
        ("RllabWalker2d-v0", 2, [-1.0, 1.0], [-0.99, 0.99]),
        ("RllabAnt-v0", 2, [0.19, 1.01], [0.2, 1.0]),
        ("RllabSimpleHumanoid-v0", 2, [0.79, 2.01], [0.8, 2.0]),
        ("RllabHumanoid-v0", 2, [0.79, 2.01], [0.8, 2.0]),
    ],
)
def test_ends(id, index, ends, goes_on):
    mdp = diffsim.make(id)
    for value, expected in [*((x, True) for x in ends), *((x, False) for x in goes_on)]:
        state = mdp.rest_state()
        state[:, index] = value
        assert mdp.terminal(state).item() is expected, value


@every_task
def test_kinematics_against_c_mujoco(id):
    # Large angles, an unnormalized quaternion, fast turns.
    mj_model = diffsim.make(id).mj_model
    data = mujoco.MjData(mj_model)
    rng = np.random.default_rng(0)
    qpos = mj_model.qpos0 + rng.normal(size=(4, mj_model.nq))
    qvel = 5 * rng.normal(size=(4, mj_model.nv))
    motion = Kinematics(mj_model, torch.float64, torch.device("cpu"))(torch.tensor(qpos), torch.tensor(qvel))
    for world in range(4):
        data.qpos[:], data.qvel[:] = qpos[world], qvel[world]
        mujoco.mj_forward(mj_model, data)
        mujoco.mj_subtreeVel(mj_model, data)
        np.testing.assert_allclose(motion.com[world], data.subtree_com[1], atol=1e-12)
        np.testing.assert_allclose(motion.velocity[world], data.subtree_linvel[1], atol=1e-11)
        np.testing.assert_allclose(motion.rotation[world], data.xmat[1].reshape(3, 3), atol=1e-12)


def test_kinematics_refuse_a_ball_joint():
    ball = '<mujoco><worldbody><body><joint type="ball"/><geom size=".1"/></body></worldbody></mujoco>'
    with pytest.raises(ValueError, match="got a ball joint"):
        Kinematics(mujoco.MjModel.from_xml_string(ball), torch.float64, torch.device("cpu"))
