"""Registers the tasks with Gymnasium. `import diffsim` does this, so nothing slow is imported here."""

from __future__ import annotations

import gymnasium

EPISODE_STEPS = {
    "Ant-v5": 1000,
    "CartPoleGears-v0": 250,
    "CartPoleSwingUp-v0": 250,
    "Go1Walk-v0": 1000,
    "G1Walk-v0": 1000,
    "HalfCheetah-v5": 1000,
    "HelicopterHover-v0": 6000,
    "Hopper-v5": 1000,
    "Humanoid-v5": 1000,
    "HumanoidStandup-v5": 1000,
    "InvertedDoublePendulum-v5": 1000,
    "InvertedPendulum-v5": 1000,
    "PointPush-v0": 50,
    "Pusher-v5": 100,
    "Reacher-v5": 50,
    "ReacherGoal-v0": 50,
    "RllabAcrobot-v0": 500,
    "RllabAnt-v0": 500,
    "RllabAntGather-v0": 500,
    "RllabAntMaze-v0": 500,
    "RllabCartPole-v0": 500,
    "RllabCartPoleSwingUp-v0": 500,
    "RllabDoublePendulum-v0": 500,
    "RllabHalfCheetah-v0": 500,
    "RllabHopper-v0": 500,
    "RllabHumanoid-v0": 500,
    "RllabMountainCar-v0": 500,
    "RllabSimpleHumanoid-v0": 500,
    "RllabSwimmer-v0": 500,
    "RllabSwimmerGather-v0": 500,
    "RllabSwimmerMaze-v0": 500,
    "RllabWalker2d-v0": 500,
    "Swimmer-v5": 1000,
    "Walker2d-v5": 1000,
}
"""Time limit of each task in steps: `max_episode_steps` of its class."""

TASK_ENV = "diffsim.tasks.official:OfficialEnv"
"""Environment of a task that has none written by hand: the task's functions on C MuJoCo."""

OFFICIAL_ENVS = {
    "CartPoleGears-v0": "diffsim.cart_pole_env:CartPoleGearsEnv",
    "CartPoleSwingUp-v0": "diffsim.cart_pole_env:CartPoleSwingUpEnv",
    "Go1Walk-v0": TASK_ENV,
    "G1Walk-v0": TASK_ENV,
    "HelicopterHover-v0": "diffsim.helicopter_env:HelicopterHoverEnv",
    "PointPush-v0": "diffsim.goal_envs:PointPushEnv",
    "ReacherGoal-v0": "diffsim.goal_envs:ReacherGoalEnv",
    "RllabMountainCar-v0": "diffsim.rllab_env:RllabMountainCarEnv",
    **{id: TASK_ENV for id in EPISODE_STEPS if id.startswith("Rllab") and id != "RllabMountainCar-v0"},
}
"""Environments, on C MuJoCo or in NumPy, of the tasks that are not Gymnasium's."""

TETRIS = "Tetris-v0"
"""The only environment that is no MDP of tensors."""
TETRIS_STEPS = 10_000
"""Its time limit in placements; max_episode_steps=-1 removes it."""


def register() -> None:
    """Registers every task as `diffsim/<id>`, those that are not Gymnasium's also as `<id>`, and Tetris as both."""
    for id, steps in EPISODE_STEPS.items():
        if f"diffsim/{id}" not in gymnasium.registry:
            gymnasium.register(
                f"diffsim/{id}",
                entry_point="diffsim.gym:make_env",
                vector_entry_point="diffsim.gym:make_vector_env",
                max_episode_steps=steps,
                kwargs={"task": id},
            )
        if id not in gymnasium.registry and id in OFFICIAL_ENVS:
            own = {"task": id} if OFFICIAL_ENVS[id] == TASK_ENV else {}
            gymnasium.register(
                id,
                entry_point="diffsim.tasks.official:own_env",
                max_episode_steps=steps,
                kwargs={"env_id": id, "entry_point": OFFICIAL_ENVS[id], **own},
            )
    for id in (TETRIS, f"diffsim/{TETRIS}"):
        if id not in gymnasium.registry:
            gymnasium.register(
                id,
                entry_point="diffsim.tetris:TetrisEnv",
                vector_entry_point="diffsim.tetris:TetrisVectorEnv",
                max_episode_steps=TETRIS_STEPS,
            )
