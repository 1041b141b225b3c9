"""Go1Walk-v0 against its definition written out in NumPy on C MuJoCo, its commands, and its options."""

import gymnasium
import mujoco
import numpy as np
import pytest
import torch

import diffsim
from diffsim.tasks.go1.walk import WEIGHTS

from .reference import converge

FEET = ("FR", "FL", "RR", "RL")
HOME = np.tile([0, 0.9, -1.8], 4)


def written_in_numpy(d: mujoco.MjData, before: dict[str, np.ndarray], action, command, step) -> tuple[np.ndarray, dict]:
    """Observation and terms of the reward, from C MuJoCo's data after `mj_forward` at the state reached."""
    rotation = d.xmat[1].reshape(3, 3)
    velocity, angular, gravity = rotation.T @ d.qvel[:3], d.qvel[3:6], rotation.T @ [0, 0, -1]
    angle = 2 * np.pi * step / 25
    swing = np.array([max(0, np.sin(angle + shift)) ** 2 for shift in (0, np.pi, np.pi, 0)]) * any(command)
    feet = np.array([d.site(name).xpos for name in FEET])
    slip = (((feet - before["feet"])[:, :2] / 0.02) ** 2).sum(axis=1)
    parts = [velocity, angular, gravity, command, d.qpos[7:] - HOME, d.qvel[6:], action - HOME]
    terms = {
        "linear_velocity": np.exp(-((velocity[:2] - command[:2]) ** 2).sum() / 0.25),
        "yaw_rate": np.exp(-((angular[2] - command[2]) ** 2) / 0.25),
        "vertical_velocity": velocity[2] ** 2,
        "roll_pitch_rate": (angular[:2] ** 2).sum(),
        "tilt": (gravity[:2] ** 2).sum(),
        "torque": (d.actuator_force**2).sum(),
        "acceleration": (((d.qvel - before["qvel"])[6:] / 0.02) ** 2).sum(),
        "action_rate": ((action - before["action"]) ** 2).sum(),
        "foot_height": ((feet[:, 2] - 0.023 - 0.08 * swing) ** 2).sum(),
        "foot_slip": (np.maximum(0, 1 - 4 * swing) * slip).sum(),
    }
    return np.concatenate([*parts, [np.sin(angle), np.cos(angle)]]), terms


def copied(d: mujoco.MjData, action: np.ndarray) -> dict[str, np.ndarray]:
    """What the terms of the next step need of the state before it."""
    feet = np.array([d.site(name).xpos for name in FEET])
    return {"feet": feet, "qvel": d.qvel.copy(), "action": action}


@pytest.mark.parametrize("seed", [1, 2])
def test_an_episode_on_both_engines_and_written_in_numpy(seed):
    env = gymnasium.make("Go1Walk-v0").unwrapped
    converge(env.model)
    env.reset(seed=seed)
    mdp, rng = diffsim.make("Go1Walk-v0"), np.random.default_rng(seed)
    state = env.state.to(mdp.dtype)
    command = env.task.current_command(env.state)[0].numpy()
    low, high = env.model.actuator_ctrlrange.T
    before, action, touched = copied(env.data, HOME), HOME, 0
    for step in range(1, 31):
        action = np.clip(action + 0.2 * rng.standard_normal(12), low, high)
        obs, reward, terminated, _, _ = env.step(action)
        mujoco.mj_forward(env.model, env.data)
        touched += env.data.ncon > 0
        expected, terms = written_in_numpy(env.data, before, action, command, step)
        np.testing.assert_allclose(obs, expected, rtol=1e-9, atol=1e-9)
        assert reward == pytest.approx(sum(WEIGHTS[name] * value for name, value in terms.items()), rel=1e-9)
        assert terminated == (env.data.qpos[2] < 0.15 or env.data.xmat[1][8] < 0.5)
        before = copied(env.data, action)
        reached = mdp.transition(state, torch.tensor(action[None], dtype=mdp.dtype))
        if diffsim.dtype == torch.float64:  # errors of float32 grow along the episode
            found = mdp.terms(state, torch.tensor(action[None]), reached)
            np.testing.assert_allclose(
                [found[name].item() for name in terms], list(terms.values()), rtol=1e-6, atol=1e-6
            )
            np.testing.assert_allclose(mdp.observation(reached)[0], expected, rtol=1e-6, atol=1e-6)
        state = reached
    assert touched > 10


def test_a_fall_ends_the_episode():
    mdp = diffsim.make("Go1Walk-v0", num_envs=4)
    state = mdp.rest_state()
    tilt = torch.tensor([1.0, 1.1]) / 2  # 57 and 63 degrees
    state[:, 2] = torch.tensor([0.27, 0.14, 0.27, 0.27])
    state[2:, 3], state[2:, 4] = tilt.cos().to(state), tilt.sin().to(state)
    assert mdp.terminal(state).tolist() == [False, True, False, True]


def test_commands_are_drawn_at_reset_and_change_after_ten_seconds():
    mdp = diffsim.make("Go1Walk-v0", num_envs=4000, command_range=(1.0, 0.5, 2.0), stand_share=0.25)
    state = mdp.initial(torch.Generator().manual_seed(0))
    first, last = mdp.current_command(state), state.clone()
    last[:, mdp.mj_model.nq + mdp.mj_model.nv] = 500
    later = mdp.current_command(last)
    assert torch.equal(mdp.observation(last)[:, 9:12], later)
    for command in (first, later):
        stands = (command == 0).all(dim=1)
        assert 0.2 < stands.double().mean() < 0.3
        for column, width in zip(command[~stands].T, (1.0, 0.5, 2.0), strict=True):
            assert column.abs().max() <= width and column.std().item() == pytest.approx(width / 3**0.5, rel=0.05)
    assert (first != later).any(dim=1).double().mean() > 0.9
    assert not mdp.swing(state)[(first == 0).all(dim=1)].any()


def test_the_command_of_a_step_is_that_before_it():
    mdp = diffsim.make("Go1Walk-v0", num_envs=1)
    state = mdp.rest_state()
    state[:, -19], state[:, -3:] = 499, 5.0
    action = mdp.home[None]
    reached = mdp.transition(state, action)
    assert mdp.current_command(reached).tolist() == [[5.0, 5.0, 5.0]]
    assert mdp.terms(state, action, reached)["yaw_rate"] > 0.9


def test_options():
    mdp = diffsim.make("Go1Walk-v0", num_envs=3, command=(0.3, -0.2, 0.1), weights={"tilt": 0.0, "torque": -1.0})
    state = mdp.initial(torch.Generator().manual_seed(0))
    np.testing.assert_allclose(mdp.current_command(state), [[0.3, -0.2, 0.1]] * 3, rtol=1e-6)
    assert mdp.term_weights == WEIGHTS | {"tilt": 0.0, "torque": -1.0}
    np.testing.assert_allclose(mdp.action_space.low, np.tile([-0.35, 0.3, -2.4], 4), rtol=1e-6)
    for options, message in (
        ({"command": (1.0,)}, r"command must be 3 numbers, got \(1.0,\)"),
        ({"command_range": (1.0, -1.0, 1.0)}, "command_range must be >= 0"),
        ({"weights": {"tilts": 1.0}}, "a name in weights must be one of linear_velocity, .*, got 'tilts'"),
        ({"stand_share": 1.5}, r"stand_share must be in \[0, 1\], got 1.5"),
    ):
        with pytest.raises(ValueError, match=message):
            diffsim.make("Go1Walk-v0", **options)


def test_commands_that_last_two_seconds():
    mdp = diffsim.make("Go1Walk-v0", num_envs=11, command_steps=99, stand_share=0.0)
    state = mdp.initial(torch.Generator().manual_seed(0))
    assert mdp.num_memory == 13 + 3 * 11
    state[:, 37] = torch.arange(11) * 99
    state[10, 37] = 2000  # the last one stays
    commands = mdp.memory(state)[:, 13:].unflatten(1, (11, 3))
    assert torch.equal(mdp.current_command(state), commands.diagonal().T)
    state[:, 37] = torch.arange(11) * 99 + 98
    assert torch.equal(mdp.current_command(state), commands.diagonal().T)
