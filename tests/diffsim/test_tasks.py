"""Tasks against Gymnasium's environments of the same id."""

import inspect
from pathlib import Path

import gymnasium
import mujoco
import numpy as np
import pytest
import torch

import diffsim
from diffsim.registration import OFFICIAL_ENVS, TASK_ENV
from diffsim.tasks import RLLAB_TASKS, TASKS

from .engine import raw_jacobian, tensors
from .official import (
    SETTING_NAMES,
    SETTINGS,
    TASKS_WITH_CONTACTS,
    flat,
    official,
    put,
    random_transitions,
    rounded,
    step_from,
)
from .reference import converge

every_setting = pytest.mark.parametrize(("id", "options"), SETTINGS, ids=SETTING_NAMES)
every_task = pytest.mark.parametrize("id", TASKS)

TOLERANCE = 1e-6 if diffsim.dtype == torch.float64 else 1e-4
# Contact forces grow with depths of 1e-3 m, known in float32 to 1e-7 m.
FORCE_TOLERANCE = 1e-6 if diffsim.dtype == torch.float64 else 1e-3
TASKS_WITH_FORCES = ("Ant-v5", "Humanoid-v5", "HumanoidStandup-v5")


def assert_close(actual: torch.Tensor, expected: np.ndarray, tolerance: float = TOLERANCE) -> None:
    """Equal to `tolerance`, relative to the size of each column where that exceeds one."""
    expected = np.asarray(expected, dtype=np.float64)
    scale = np.maximum(1, np.abs(expected).max(axis=0))
    np.testing.assert_array_less(np.abs(actual.double().numpy() - expected) / scale, tolerance)


@every_setting
def test_transitions(id, options):
    env = official(id, **options)
    expected = random_transitions(env, 200)
    mdp = diffsim.make(id, num_envs=200, **options)
    qpos, qvel, action = tensors(*np.split(expected.state, [env.model.nq], axis=1), expected.action)
    state = mdp.state_at(qpos, qvel)
    next_state = mdp.transition(state, action)
    assert next_state.shape == (200, mdp.state_size)
    assert_close(next_state[:, : expected.state.shape[1]], expected.next_state)
    forces = 6 * (env.model.nbody - 1) if id in TASKS_WITH_FORCES else 0
    forces *= options.get("include_cfrc_ext_in_observation", True)
    observed = expected.obs.shape[1] - forces
    obs = mdp.observation(next_state)
    assert_close(obs[:, :observed], expected.obs[:, :observed])
    assert_close(obs[:, observed:], expected.obs[:, observed:], FORCE_TOLERANCE)
    assert_close(mdp.reward(state, action, next_state), expected.reward)
    np.testing.assert_array_equal(mdp.terminal(next_state).numpy(), expected.terminated)


def test_the_transitions_reach_both_outcomes():
    for id in (
        "Ant-v5",
        "Hopper-v5",
        "Humanoid-v5",
        "Walker2d-v5",
        "InvertedPendulum-v5",
        "InvertedDoublePendulum-v5",
    ):
        transitions = random_transitions(official(id), 200)
        assert 5 <= transitions.terminated.sum() <= 195
    # The constraint force in the observation is that of the rail's ends.
    assert (transitions.obs[:, 8] != 0).sum() >= 5


@pytest.mark.parametrize("id", sorted(TASKS_WITH_CONTACTS))
def test_most_transitions_are_in_contact(id):
    assert random_transitions(official(id), 200).touching.mean() > 0.5


@every_task
def test_states_carry_the_last_evaluation_along_an_episode(id):
    # The state contains what observation and reward read of the previous step, so steps can be chained.
    env = official(id)
    mdp = diffsim.make(id, num_envs=1)
    env.reset(seed=0)
    qpos, qvel = (rounded(x)[None] for x in (env.data.qpos, env.data.qvel))
    put(env, np.concatenate([qpos[0], qvel[0]]))
    state = mdp.state_at(*tensors(qpos, qvel))
    rng = np.random.default_rng(0)
    for _ in range(20):
        action = rounded(rng.uniform(env.action_space.low, env.action_space.high))
        obs, reward, terminated, _, _ = env.step(action)
        (act,) = tensors(action[None])
        next_state = mdp.transition(state, act)
        # Errors grow along the episode.
        assert_close(mdp.observation(next_state), flat(env, obs)[None], 100 * TOLERANCE)
        assert_close(mdp.reward(state, act, next_state), np.array([reward]), 100 * TOLERANCE)
        assert mdp.terminal(next_state).item() == terminated
        state = next_state


@every_setting
def test_observation_after_reset(id, options):
    env = official(id, **options)
    mdp = diffsim.make(id, num_envs=20, **options)
    state = mdp.initial(torch.Generator().manual_seed(0))
    qpos, qvel, _ = mdp.split(state)
    expected = []
    for world in range(20):
        mujoco.mj_resetData(env.model, env.data)
        env.set_state(qpos[world].double().numpy(), qvel[world].double().numpy())
        expected.append(flat(env, env._get_obs()))
    assert_close(mdp.observation(state), expected)


def distance_of_samples(first: np.ndarray, second: np.ndarray) -> float:
    """Kolmogorov-Smirnov distance: the largest gap between two empirical distribution functions."""
    points = np.concatenate([first, second])
    below = [np.searchsorted(np.sort(sample), points, side="right") / len(sample) for sample in (first, second)]
    return float(np.abs(below[0] - below[1]).max())


@every_setting
def test_reset_distribution(id, options):
    count = 1500
    env = official(id, **options)
    expected = []
    for seed in range(count):
        env.reset(seed=seed)
        expected.append(np.concatenate([env.data.qpos, env.data.qvel]))
    expected = np.array(expected)
    mdp = diffsim.make(id, num_envs=count, **options)
    state = mdp.initial(torch.Generator().manual_seed(0)).double().numpy()
    # Under equal distributions a distance passes this bound with probability 1e-4 (Smirnov's limit law), and
    # the seeds are fixed. Distances of pairs of coordinates from the origin show dependence that marginal
    # distributions do not.
    bound = np.sqrt(-np.log(1e-4 / 2) / 2 * 2 / count)
    for column in range(expected.shape[1]):
        assert distance_of_samples(state[:, column], expected[:, column]) < bound
        pair = [column, (column + 1) % expected.shape[1]]
        norms = (np.linalg.norm(x[:, pair], axis=1) for x in (state, expected))
        assert distance_of_samples(*norms) < bound


@every_setting
def test_spaces_and_time_limit(id, options):
    env = gymnasium.make(id, **options)
    mdp = diffsim.make(id, num_envs=3, **options)
    assert mdp.action_space == env.action_space
    if "xml_file" not in options:
        assert mdp.observation_space == gymnasium.spaces.flatten_space(env.observation_space)
    assert mdp.max_episode_steps == env.spec.max_episode_steps
    assert (mdp.num_envs, mdp.dtype, mdp.device) == (3, diffsim.dtype, torch.device("cpu"))
    assert mdp.dt == pytest.approx(env.unwrapped.dt)


@pytest.mark.parametrize("id", [id for id in TASKS if OFFICIAL_ENVS.get(id) != TASK_ENV])
def test_same_options_and_defaults_as_gymnasium(id):
    official_class = type(official(id))
    rendering = {"default_camera_config"}
    expected = {
        name: parameter.default
        for name, parameter in inspect.signature(official_class).parameters.items()
        if parameter.kind is not parameter.VAR_KEYWORD and name not in rendering
    }
    actual = {
        name: parameter.default
        for name, parameter in inspect.signature(TASKS[id]).parameters.items()
        if name not in ("num_envs", "device")
    }
    assert actual == expected


@every_task
def test_same_seed_same_bits(id):
    mdp = diffsim.make(id, num_envs=5)
    first, again, other = (mdp.initial(torch.Generator().manual_seed(seed)) for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("kind", [str, Path])
def test_a_users_own_mjcf_file(tmp_path, kind):
    text = Path(official("InvertedPendulum-v5").fullpath).read_text()
    path = tmp_path / "quick.xml"
    path.write_text(text.replace('timestep="0.02"', 'timestep="0.01"').replace('gear="100"', 'gear="50"'))
    expected = random_transitions(official("InvertedPendulum-v5", xml_file=str(path)), 50)
    mdp = diffsim.make("InvertedPendulum-v5", num_envs=50, xml_file=kind(path))
    assert_close(mdp.transition(*tensors(expected.state, expected.action)), expected.next_state)


# Without the quantities that are held constant, and with rewards that have a derivative.
SMOOTH_PARTS = {
    "ReacherGoal-v0": {"reward_type": "dense"},
    "PointPush-v0": {"reward_type": "dense"},
    "Ant-v5": {"contact_cost_weight": 0.0, "include_cfrc_ext_in_observation": False},
    "Humanoid-v5": {
        "contact_cost_weight": 0.0,
        "include_cinert_in_observation": False,
        "include_cvel_in_observation": False,
        "include_qfrc_actuator_in_observation": False,
        "include_cfrc_ext_in_observation": False,
    },
    "HumanoidStandup-v5": {
        "impact_cost_weight": 0.0,
        "include_cinert_in_observation": False,
        "include_cvel_in_observation": False,
        "include_qfrc_actuator_in_observation": False,
        "include_cfrc_ext_in_observation": False,
    },
}


# By `check_task`: rllab's tasks that observe no forces, or forces that are held constant. G1Walk's are Go1Walk's.
RLLAB_WITH_FORCES = {"RllabDoublePendulum-v0", "RllabHopper-v0"}
GRADIENTS_CHECKED_ELSEWHERE = {"InvertedPendulum-v5", "G1Walk-v0", *RLLAB_TASKS} - RLLAB_WITH_FORCES


@pytest.mark.skipif(diffsim.dtype != torch.float64, reason="differences need float64")
@pytest.mark.parametrize("id", [id for id in TASKS if id not in GRADIENTS_CHECKED_ELSEWHERE])
def test_gradient_of_observation_and_reward(id):
    # Differences of Gymnasium's environment itself, whose observation reads the last evaluation.
    options = SMOOTH_PARTS.get(id, {})
    env = official(id, **options)
    converge(env.model)
    env.model.opt.iterations = 10
    rows = random_transitions(env, 40)
    nq, nv = env.model.nq, env.model.nv
    calm = ~rows.terminated
    if "Double" in id:
        # Away from the clips of velocities and force.
        calm &= (np.abs(rows.obs[:, 5:8]) < 9.9).all(axis=1) & (np.abs(rows.obs[:, 8]) != 10)
    count = 4 if "Humanoid" in id else 8
    # Scaled into the action space.
    state, action = rows.state[calm][:count], 0.75 * rows.action[calm][:count]
    mdp = diffsim.make(id, num_envs=len(state), **options)

    physics, act = tensors(state, action, requires_grad=True)
    full = mdp.state_at(*physics.split([nq, nv], dim=1))
    reached = mdp.transition(full, act)
    outputs = torch.cat([mdp.observation(reached), mdp.reward(full, act, reached)[:, None]], dim=1)
    actual = raw_jacobian(outputs, physics, act)

    def differences(world: int, step: float) -> np.ndarray:
        inputs = np.concatenate([state[world], action[world]])
        columns = []
        for index in range(len(inputs)):
            ends = []
            for sign in (1, -1):
                moved = inputs.copy()
                moved[index] += sign * step
                ends.append(step_from(env, *np.split(moved, [state.shape[1]])))
            columns.append((ends[0] - ends[1]) / (2 * step))
        return np.array(columns).T

    # Impedances of contacts change over depths of 1e-3.
    step = 1e-6 if id in TASKS_WITH_CONTACTS else 1e-5
    checked = 0
    for world in range(len(state)):
        one, half = differences(world, step), differences(world, step / 2)
        size = np.abs(half).max(axis=1, keepdims=True) + 1e-3
        # At a switch, such as the first contact with the rail's end, there is no derivative to compare with.
        if (np.abs(one - half) / size).max() > 1e-5:
            continue
        checked += 1
        np.testing.assert_array_less(np.abs(actual[world] - (4 * half - one) / 3) / size, 1e-5)
    assert checked >= count // 2
