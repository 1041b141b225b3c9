"""Official episodes, and how they are filmed."""

import pytest

from trainers.evaluation import keep_in_sight
from trainers.goals import make_official


@pytest.mark.parametrize(
    ("task", "name"), [("Hopper-v5", "track"), ("Humanoid-v5", "track"), ("ReacherGoal-v0", "above")]
)
def test_the_robot_stays_in_sight(task, name):
    env = make_official(task, render_mode="rgb_array")
    keep_in_sight(env)
    renderer = env.unwrapped.mujoco_renderer
    assert renderer.model.camera(renderer.camera_id).name == name


def test_a_model_without_such_a_camera_is_seen_as_before():
    env = make_official("InvertedPendulum-v5", render_mode="rgb_array")
    keep_in_sight(env)
    assert env.unwrapped.mujoco_renderer.camera_id == -1
    keep_in_sight(make_official("CartPole-v1", render_mode="rgb_array"))
