"""Environments on C MuJoCo, Gymnasium's and ours, as the reference for tasks."""

from dataclasses import dataclass
from typing import Any

import gymnasium
import mujoco
import numpy as np
from gymnasium.envs.mujoco import MujocoEnv

from diffsim.tasks import OfficialEnv
from diffsim.types import numpy_dtype

from .contact_reference import pushing_position
from .reference import converge

# Every option of every task away from its default at least once.
SETTINGS: list[tuple[str, dict[str, Any]]] = [
    ("InvertedPendulum-v5", {}),
    ("InvertedPendulum-v5", {"frame_skip": 3, "reset_noise_scale": 0.15}),
    ("InvertedDoublePendulum-v5", {}),
    ("InvertedDoublePendulum-v5", {"frame_skip": 2, "healthy_reward": 3.0, "reset_noise_scale": 0.3}),
    ("Reacher-v5", {}),
    ("Reacher-v5", {"frame_skip": 4, "reward_dist_weight": 2.0, "reward_control_weight": 0.1}),
    ("Swimmer-v5", {}),
    (
        "Swimmer-v5",
        {
            "frame_skip": 2,
            "forward_reward_weight": 3.0,
            "ctrl_cost_weight": 0.1,
            "reset_noise_scale": 0.4,
            "exclude_current_positions_from_observation": False,
        },
    ),
    ("Swimmer-v5", {"xml_file": "inverted_double_pendulum.xml"}),
    ("Hopper-v5", {}),
    (
        "Hopper-v5",
        {
            "frame_skip": 2,
            "forward_reward_weight": 2.0,
            "ctrl_cost_weight": 0.1,
            "healthy_reward": 3.0,
            "reset_noise_scale": 0.1,
            "exclude_current_positions_from_observation": False,
        },
    ),
    ("Hopper-v5", {"terminate_when_unhealthy": False, "healthy_state_range": (-1.5, 1.5)}),
    ("Hopper-v5", {"healthy_z_range": (1.0, 1.3), "healthy_angle_range": (-0.1, 0.3)}),
    ("Walker2d-v5", {}),
    (
        "Walker2d-v5",
        {
            "frame_skip": 2,
            "forward_reward_weight": 2.0,
            "ctrl_cost_weight": 0.1,
            "healthy_reward": 3.0,
            "reset_noise_scale": 0.1,
            "exclude_current_positions_from_observation": False,
        },
    ),
    ("Walker2d-v5", {"terminate_when_unhealthy": False, "healthy_angle_range": (-0.3, 0.4)}),
    ("Walker2d-v5", {"xml_file": "walker2d.xml", "healthy_z_range": (1.0, 1.3)}),
    ("HalfCheetah-v5", {}),
    ("HalfCheetah-v5", {"frame_skip": 2, "forward_reward_weight": 2.0, "reset_noise_scale": 0.3}),
    ("HalfCheetah-v5", {"exclude_current_positions_from_observation": False, "ctrl_cost_weight": 0.5}),
    ("HalfCheetah-v5", {"xml_file": "walker2d_v5.xml"}),
    ("Ant-v5", {}),
    (
        "Ant-v5",
        {
            "frame_skip": 2,
            "forward_reward_weight": 2.0,
            "ctrl_cost_weight": 0.1,
            "healthy_reward": 3.0,
            "reset_noise_scale": 0.2,
            "exclude_current_positions_from_observation": False,
        },
    ),
    (
        "Ant-v5",
        {"main_body": "aux_2", "terminate_when_unhealthy": False, "healthy_z_range": (0.4, 0.8)},
    ),
    ("Ant-v5", {"contact_force_range": (-0.4, 6.0), "contact_cost_weight": 0.1}),
    ("Ant-v5", {"include_cfrc_ext_in_observation": False, "contact_force_range": (0.5, 2.0)}),
    ("Humanoid-v5", {}),
    (
        "Humanoid-v5",
        {
            "frame_skip": 2,
            "forward_reward_weight": 2.0,
            "ctrl_cost_weight": 0.2,
            "contact_cost_weight": 1e-5,
            "contact_cost_range": (0.5, 5.0),
            "healthy_reward": 3.0,
            "reset_noise_scale": 0.1,
            "include_cinert_in_observation": False,
            "include_qfrc_actuator_in_observation": False,
        },
    ),
    (
        "Humanoid-v5",
        {
            "terminate_when_unhealthy": False,
            "exclude_current_positions_from_observation": False,
            "include_cvel_in_observation": False,
        },
    ),
    ("Humanoid-v5", {"healthy_z_range": (1.2, 1.5), "include_cfrc_ext_in_observation": False}),
    ("HumanoidStandup-v5", {}),
    (
        "HumanoidStandup-v5",
        {
            "frame_skip": 2,
            "uph_cost_weight": 5.0,
            "ctrl_cost_weight": 0.2,
            "impact_cost_weight": 1e-5,
            "impact_cost_range": (0.5, 5.0),
            "reset_noise_scale": 0.1,
            "include_cinert_in_observation": False,
        },
    ),
    (
        "HumanoidStandup-v5",
        {
            "exclude_current_positions_from_observation": False,
            "include_cvel_in_observation": False,
            "include_qfrc_actuator_in_observation": False,
        },
    ),
    ("HumanoidStandup-v5", {"include_cfrc_ext_in_observation": False}),
    ("Pusher-v5", {}),
    ("Pusher-v5", {"frame_skip": 2, "reward_near_weight": 2.0}),
    ("Pusher-v5", {"reward_dist_weight": 3.0}),
    ("Pusher-v5", {"reward_control_weight": 1.0}),
    ("CartPoleSwingUp-v0", {}),
    ("CartPoleSwingUp-v0", {"frame_skip": 2, "reset_noise_scale": 0.3}),
    ("ReacherGoal-v0", {}),
    ("ReacherGoal-v0", {"frame_skip": 2, "distance_threshold": 0.1}),
    ("ReacherGoal-v0", {"reward_type": "dense"}),
    ("PointPush-v0", {}),
    ("PointPush-v0", {"frame_skip": 2, "distance_threshold": 0.1}),
    ("PointPush-v0", {"reward_type": "dense"}),
    ("PointPush-v0", {"reward_type": "dense", "reward_near_weight": 2.0}),
]
TASKS_WITH_CONTACTS = {
    "Hopper-v5",
    "Walker2d-v5",
    "HalfCheetah-v5",
    "Ant-v5",
    "Humanoid-v5",
    "HumanoidStandup-v5",
    "Pusher-v5",
    "PointPush-v0",
}
SETTING_NAMES = [f"{id}-{'-'.join(options) or 'default'}" for id, options in SETTINGS]


def official(id: str, **options: Any) -> MujocoEnv | OfficialEnv:
    """The environment on C MuJoCo, without wrappers.

    Its solver is the model's own, except where that does not converge: the humanoids ask for 50 sweeps of projected
    Gauss-Seidel, contacts of Pusher's fingers with the cylinder are found to a tolerance of 1e-6 m, and Go1's feet have
    elliptic cones with a ratio of 100. These are solved to convergence.
    """
    env = gymnasium.make(id, **options).unwrapped
    assert isinstance(env, MujocoEnv | OfficialEnv)
    if id in ("Pusher-v5", "Go1Walk-v0") or env.model.opt.solver == mujoco.mjtSolver.mjSOL_PGS:
        converge(env.model)
    return env


@dataclass
class Transitions:
    """T transitions of an environment on C MuJoCo; state is [qpos, qvel]."""

    state: np.ndarray
    action: np.ndarray
    next_state: np.ndarray
    obs: np.ndarray
    reward: np.ndarray
    terminated: np.ndarray
    touching: np.ndarray


def random_transitions(env: MujocoEnv | OfficialEnv, count: int, seed: int = 0) -> Transitions:
    """Transitions with uniform random actions, some outside the action space, in episodes of 1 to 50 steps. Each
    starts from a state that was set, without warm start, and rounded to the simulator's precision.

    Carts start anywhere on their rail, so that they also reach its ends; points start at the disc that they push;
    pushing arms, half of the time, at the cylinder. In tasks with contacts, episodes continue after termination, and
    three in four of the transitions from states without a contact are left out.
    """
    rng = np.random.default_rng(seed)
    low, high = env.action_space.low.astype(float), env.action_space.high.astype(float)
    assert env.spec is not None
    contacts = env.spec.id in TASKS_WITH_CONTACTS
    rows = []
    left = 0
    while len(rows) < count:
        if left == 0:
            env.reset(seed=int(rng.integers(2**31)))
            file = getattr(env, "fullpath", "")
            if "pendulum" in file:
                qpos = env.data.qpos.copy()
                qpos[0] = rng.uniform(-1.02, 1.02)
                env.set_state(qpos, env.data.qvel * 5)
            if "cart_pole" in file:
                env.set_state(rng.uniform([-1.84, -np.pi], [1.84, np.pi]), rng.uniform([-1, -8], [1, 8]))
            left = int(rng.integers(1, 51))
            if env.spec.id == "Pusher-v5" and rng.random() < 0.5:
                env.set_state(pushing_position(env.model, rng), env.data.qvel)
                left = 3
            if env.spec.id == "PointPush-v0":
                env.set_state(touching_disc(env.data.qpos, rng), rng.uniform(-0.5, 0.5, 6) * [1, 1, 1, 1, 0, 0])
                left = 5
        state = rounded(np.concatenate([env.data.qpos, env.data.qvel]))
        action = rounded(1.2 * rng.uniform(low, high))
        put(env, state)
        touching = env.data.ncon > 0
        obs, reward, terminated, _, _ = env.step(action)
        if touching or not contacts or rng.random() < 0.25:
            after = np.concatenate([env.data.qpos, env.data.qvel])
            rows.append((state, action, after, flat(env, obs), reward, terminated, touching))
        left = 0 if terminated and not contacts else left - 1
    return Transitions(*(np.array(column) for column in zip(*rows, strict=True)))


def touching_disc(qpos: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Positions [6] of PointPush with the point up to 2 mm inside the disc or beside it; some discs at the walls."""
    angle, gap = rng.uniform(-np.pi, np.pi), 0.07 + rng.uniform(-2e-3, 2e-3)
    disc = qpos[2:4] if rng.random() < 0.7 else rng.uniform(-0.26, 0.26, 2)
    return np.concatenate([disc + gap * np.array([np.cos(angle), np.sin(angle)]), disc, qpos[4:]])


def flat(env: gymnasium.Env, obs: Any) -> np.ndarray:
    """The observation of an environment as one vector."""
    return gymnasium.spaces.flatten(env.observation_space, obs) if isinstance(obs, dict) else obs


def rounded(values: np.ndarray) -> np.ndarray:
    """Values in the simulator's precision, as float64."""
    return values.astype(numpy_dtype).astype(np.float64)


def put(env: MujocoEnv | OfficialEnv, state: np.ndarray) -> None:
    """Sets a state [nq + nv] as after a reset."""
    mujoco.mj_resetData(env.model, env.data)
    env.set_state(*np.split(state, [env.model.nq]))


def step_from(env: MujocoEnv | OfficialEnv, state: np.ndarray, action: np.ndarray) -> np.ndarray:
    """Observation and reward after one step from a state [nq + nv], as one vector [O + 1]."""
    put(env, state)
    obs, reward, *_ = env.step(action)
    return np.append(flat(env, obs), reward)
