"""check_task passes correct tasks, and finds each kind of error that is planted in one."""

import pytest
import torch

import diffsim
from diffsim.tasks import official

from .own_tasks import Cable, Forearm, Pendulum, PlainPendulum, SlideTo


@pytest.mark.parametrize(
    ("task", "options"),
    [
        (Pendulum, {}),
        (PlainPendulum, {"frame_skip": 1}),
        (SlideTo, {"reward_type": "dense"}),
        (Forearm, {}),
        (Cable, {}),
        ("tests.diffsim.own_tasks:Pendulum-v0", {}),
        ("CartPoleSwingUp-v0", {}),
        ("ReacherGoal-v0", {}),
        ("InvertedDoublePendulum-v5", {}),
        ("Hopper-v5", {}),
        ("RllabAcrobot-v0", {}),
        ("RllabDoublePendulum-v0", {}),
        ("Ant-v5", {}),
    ],
)
def test_correct_tasks_pass(task, options):
    report = diffsim.check_task(task, num_envs=6, num_steps=10, **options)
    assert report.ok, str(report)
    assert len(report.checks) == 10
    assert str(report).endswith("ok") and "FAIL" not in str(report)


class BatchReward(PlainPendulum):
    def reward(self, state, action, next_state):
        reward = super().reward(state, action, next_state)
        return reward - reward.mean()


class InPlaceObservation(PlainPendulum):
    def observation(self, state):
        state[:, 1] *= 0.1
        return super().observation(state)


class RandomReward(PlainPendulum):
    def reward(self, state, action, next_state):
        return super().reward(state, action, next_state) + torch.rand(len(state), dtype=state.dtype)


class DetachedReward(PlainPendulum):
    def reward(self, state, action, next_state):
        return super().reward(state, action.detach(), next_state)


class DetachedObservation(PlainPendulum):
    def observation(self, state):
        return super().observation(state.detach())


class InfiniteGradient(PlainPendulum):
    def reward(self, state, action, next_state):
        return super().reward(state, action, next_state) + (0 * state[:, 0]).sqrt()


class BadShape(PlainPendulum):
    def reward(self, state, action, next_state):
        return super().reward(state, action, next_state)[:, None]


class BadTerminal(PlainPendulum):
    def terminal(self, state):
        return (state[:, 1].abs() > 20).to(state)


class BadReset(PlainPendulum):
    def reset_model(self, generator):
        qpos, qvel = super().reset_model(generator)
        return torch.cat([qpos, qpos], 1), qvel


class UnseededReset(PlainPendulum):
    def reset_model(self, generator):
        return torch.rand(self.num_envs, 1, dtype=self.dtype), super().reset_model(generator)[1]


class NaNReset(PlainPendulum):
    def observation(self, state):
        return (super().observation(state) - 0.5).log()


class TerminalReset(PlainPendulum):
    def terminal(self, state):
        return state[:, 0] < 10


class NoRange(PlainPendulum):
    xml_file = PlainPendulum.xml_file.replace(' ctrlrange="-1 1"', "")


class OtherRewardInSimulation(PlainPendulum):
    def reward(self, state, action, next_state):
        return super().reward(state, action, next_state) + 0.01 * self.simulated


@pytest.mark.parametrize(
    ("task", "lines"),
    [
        (BatchReward, ["FAIL  each world on its own", "reward depends on other worlds: world "]),
        (InPlaceObservation, ["FAIL  pure functions", "observation changes next_state in place, at world 0, index 1"]),
        (RandomReward, ["FAIL  pure functions", "reward must return the same for the same input"]),
        (DetachedReward, ["FAIL  gradient of reward", "by action: world 0", ": 0 by autograd, "]),
        (DetachedObservation, ["FAIL  gradient of observation", "by state: world 0", ": 0 by autograd, "]),
        (InfiniteGradient, ["FAIL  gradient of reward", "nan by autograd, "]),
        (BadShape, ["FAIL  shapes and types", "reward must be torch.float", "of shape (6,)", "of shape (6, 1)"]),
        (BadTerminal, ["FAIL  shapes and types", "terminal must be torch.bool"]),
        (BadReset, ["FAIL  reset", "qpos of reset_model", "of shape (6, 1), got", "of shape (6, 2)"]),
        (UnseededReset, ["FAIL  reset", "reset states must be the same for the same seed"]),
        (NaNReset, ["FAIL  reset", "observation must be in observation_space, got [nan"]),
        (TerminalReset, ["FAIL  reset", "world 0: the reset state is terminal"]),
        (NoRange, ["FAIL  action space", "actuator torque: ctrlrange must be an interval, got [0, 0]"]),
        (OtherRewardInSimulation, ["FAIL  values against C MuJoCo", "reward differs: step ", " on the simulator, "]),
    ],
)
def test_planted_errors_are_found(task, lines):
    report = diffsim.check_task(task, num_envs=6, num_steps=5)
    assert not report.ok
    for line in [*lines, "FAILED"]:
        assert line in str(report), str(report)


def test_another_timestep_on_c_mujoco_is_found(monkeypatch):
    """Negative control of the comparison with C MuJoCo: values, gradients and the environment all differ."""

    def slower(cls):
        def load(self, device):
            self.mj_model.opt.timestep = 0.011
            return cls._make_simulator(self, device)

        return type(cls.__name__, (original(cls),), {"_make_simulator": load})

    original = official.on_c_mujoco
    monkeypatch.setattr("diffsim.tasks.check.on_c_mujoco", slower)
    text = str(diffsim.check_task(PlainPendulum, num_envs=4, num_steps=5))
    assert "qpos differs: step " in text and "FAIL  gradient of transition" in text
    assert "observation differs: step " in text.split("evaluation environment")[1] and "in the environment" in text


def test_a_wrong_gradient_of_the_simulator_is_found(monkeypatch):
    plain = PlainPendulum.transition
    monkeypatch.setattr(
        PlainPendulum,
        "transition",
        lambda self, state, action: plain(self, state, 0.5 * action + 0.5 * action.detach()),
    )
    report = diffsim.check_task(PlainPendulum, num_envs=4, num_steps=5)
    failed = [check.name for check in report.checks if check.problems]
    assert failed == ["gradient of transition"] and "by action: world 0" in str(report)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"num_envs": 1}, ValueError, "num_envs must be an int >= 2, got 1"),
        ({"num_steps": 0}, ValueError, "num_steps must be an int >= 1, got 0"),
        ({"num_steps": 2.0}, ValueError, "num_steps must be an int >= 1, got 2.0"),
        ({"tolerance": 0.0}, ValueError, "tolerance must be > 0 or None, got 0.0"),
        ({"mass": 1}, TypeError, "options of .* must be among xml_file, frame_skip; got mass"),
    ],
)
def test_bad_arguments_are_named(options, error, message):
    with pytest.raises(error, match=message):
        diffsim.check_task(Pendulum, **options)


def test_only_tasks_are_checked():
    with pytest.raises(TypeError, match="id must be a task's id or a subclass of Task, got 3"):
        diffsim.check_task(3)
    with pytest.raises(ValueError, match=r"id must be one of Ant-v5, .* got 'CartPole-v1'"):
        diffsim.check_task("CartPole-v1")
