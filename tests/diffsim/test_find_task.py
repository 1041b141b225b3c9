"""Tasks by id: ours, those of a module in the current folder, those of installed packages; and what is no task."""

import inspect
import os
from importlib.metadata import EntryPoint
from pathlib import Path

import gymnasium
import pytest

import diffsim
import diffsim.gym
from diffsim.options import option
from diffsim.registration import EPISODE_STEPS
from diffsim.tasks import (
    EQUATION_TASKS,
    HYBRID_TASKS,
    TASKS,
    HelicopterHover,
    Hopper,
    find,
    find_task,
    official_env,
    task_ids,
)
from tests import processes

from . import own_tasks

HERE = "tests.diffsim.own_tasks"
ROOT = Path(__file__).parents[2]


def test_registration_agrees_with_the_classes():
    assert EPISODE_STEPS == {
        id: cls.max_episode_steps for id, cls in {**TASKS, **HYBRID_TASKS, **EQUATION_TASKS}.items()
    }


def test_ids_of_tasks():
    assert find_task("Hopper-v5") is Hopper
    for id in (f"{HERE}:Pendulum-v0", f"{HERE}:Pendulum-v12", f"{HERE}:Pendulum"):
        assert find_task(id) is own_tasks.Pendulum
    assert find_task("CartPole-v1") is None
    assert find_task("HelicopterHover-v0") is HelicopterHover
    assert isinstance(diffsim.make(f"{HERE}:Pendulum-v0", num_envs=2), own_tasks.Pendulum)
    assert diffsim.make(own_tasks.Pendulum, frame_skip=3).frame_skip == 3
    assert diffsim.make(own_tasks.Pendulum, reward_noise=0.1).observation_space.shape == (4,)


def test_a_task_of_equations_has_no_mujoco_model():
    with pytest.raises(ValueError, match="id must be a task with a MuJoCo model, got 'HelicopterHover-v0'"):
        diffsim.check_task("HelicopterHover-v0")
    with pytest.raises(ValueError, match="process_noise must be 0 for HelicopterHover, which is no MuJoCo"):
        diffsim.make("HelicopterHover-v0", process_noise=1.0)
    with pytest.raises(TypeError, match="options of HelicopterHover-v0 must be among noise_scale, wind, .*; got gust"):
        diffsim.make("HelicopterHover-v0", gust=1.0)


def test_a_module_that_registers_an_environment(tmp_path, monkeypatch):
    (tmp_path / "my_own_envs.py").write_text(
        "import gymnasium\n"
        "gymnasium.register('Mine-v3', entry_point='gymnasium.envs.classic_control:CartPoleEnv', max_episode_steps=7)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert find_task("my_own_envs:Mine-v3") is None
    assert official_env("my_own_envs:Mine-v3").spec.max_episode_steps == 7
    gymnasium.registry.pop("Mine-v3")


def test_tasks_of_installed_packages(monkeypatch):
    offered = [
        EntryPoint("Swing-v1", f"{HERE}:Pendulum", find.GROUP),
        EntryPoint("Not-v0", f"{HERE}:PENDULUM", find.GROUP),
    ]

    def entry_points(group, name=None):
        return [point for point in offered if group == point.group and name in (None, point.name)]

    monkeypatch.setattr(find, "entry_points", entry_points)
    assert find_task("Swing-v1") is own_tasks.Pendulum
    assert official_env("Swing-v1").spec.max_episode_steps == 30
    assert "Swing-v1" in task_ids()
    with pytest.raises(ValueError, match=r"got 'Swing-v2'; did you mean Swing-v1\?"):
        diffsim.make("Swing-v2")
    with pytest.raises(TypeError, match=r"entry point 'Not-v0' \(.*:PENDULUM\) must be a subclass of Task"):
        find_task("Not-v0")


@pytest.mark.parametrize(
    ("id", "message"),
    [
        ("no_such_module:Mine-v0", "'no_such_module', which is neither in the current folder nor in an installed"),
        ("no.such:Mine-v0", "'no.such', which is neither in the current folder"),
        (
            f"{HERE}:Pendulem-v0",
            r"has no Pendulem; did you mean Pendulum\? .*Pendulum, PlainPendulum, Forearm, SlideTo, Cable\)",
        ),
        (f"{HERE}:PENDULUM", "its PENDULUM is not a subclass of diffsim.tasks.Task"),
        ("math:Mine-v0", r"has no Mine \(tasks there: none\)"),
        ("Hoper-v5", r"got 'Hoper-v5'; did you mean Hopper-v5\?"),
    ],
)
def test_bad_ids_are_explained(id, message):
    with pytest.raises(ValueError, match=message):
        diffsim.make(id)


def test_errors_inside_a_module_are_passed_on(tmp_path, monkeypatch):
    (tmp_path / "broken_task.py").write_text("import not_installed_anywhere\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="not_installed_anywhere"):
        find_task("broken_task:Mine-v0")


def test_unknown_options_of_own_tasks():
    with pytest.raises(TypeError, match="options of .* must be among xml_file, frame_skip; got mass"):
        diffsim.make(own_tasks.Pendulum, mass=2)
    with pytest.raises(TypeError, match="options of .* must be among xml_file, frame_skip; got mass"):
        official_env(own_tasks.Pendulum, mass=2)


class Pushed(own_tasks.Pendulum):
    """A pendulum with a scaled torque."""

    frame_skip = 3
    strength: float = option("factor on the torque.", "> 0", default=0.5)

    def transition(self, state, action, noise=None):
        return super().transition(state, self.strength * action, noise)


def test_options_of_own_tasks():
    assert diffsim.make(Pushed, strength=2.0).strength == 2.0
    assert (Pushed(2).num_envs, Pushed().frame_skip, Pushed().strength) == (2, 3, 0.5)
    assert "strength: factor on the torque. Must be > 0. Default: 0.5." in Pushed.__doc__
    assert list(inspect.signature(Pushed).parameters) == ["num_envs", "device", "xml_file", "frame_skip", "strength"]
    with pytest.raises(ValueError, match="strength must be > 0, got 0"):
        Pushed(strength=0)
    with pytest.raises(TypeError, match="Pushed has no option strenght; did you mean strength"):
        Pushed(strenght=1.0)


MY_TASK = '''
import torch
from diffsim.tasks import Task

class MyTask(Task):
    xml_file = """
    <mujoco>
      <worldbody><body><joint name="x" type="slide" axis="1 0 0"/><geom size="0.1"/></body></worldbody>
      <actuator><motor joint="x" ctrlrange="-1 1"/></actuator>
    </mujoco>
    """

    def reset_model(self, generator):
        return self.normal(1, 0.1, generator), self.normal(1, 0.1, generator)

    def observation(self, state):
        return state

    def reward(self, state, action, next_state):
        return -next_state[:, 0].square()
'''
SCRIPT = """
import sys; sys.path.insert(0, "")
import diffsim, diffsim.gym
from diffsim.tasks import official_env
id = "my_task:MyTask-v0"
report = diffsim.check_task(id)
print(report)
assert report.ok
env = diffsim.gym.make_vector_env(id, num_envs=3)
print(env.reset(seed=0)[0].shape, official_env(id).reset(seed=0)[0].shape)
"""


def test_a_task_in_the_current_folder(tmp_path):
    (tmp_path / "my_task.py").write_text(MY_TASK)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = processes.run("-c", SCRIPT, cwd=tmp_path, env=environment, check=True)
    assert "MyTask: 16 worlds, 50 steps" in done.stdout and "(3, 2) (2,)" in done.stdout
