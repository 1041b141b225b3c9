"""Task classes by id: the tasks of this package, `module:MyTask-v0`, and those of installed packages."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterable
from importlib.metadata import entry_points
from types import ModuleType
from typing import Any, TypeGuard

import gymnasium

from diffsim.checks import did_you_mean
from diffsim.tasks.ant import Ant
from diffsim.tasks.cart_pole_gears import CartPoleGears
from diffsim.tasks.cart_pole_swing_up import CartPoleSwingUp
from diffsim.tasks.configurable import ConfigurableMDP
from diffsim.tasks.g1.walk import G1Walk
from diffsim.tasks.go1.walk import Go1Walk
from diffsim.tasks.half_cheetah import HalfCheetah
from diffsim.tasks.helicopter_hover import HelicopterHover
from diffsim.tasks.hopper import Hopper
from diffsim.tasks.humanoid import Humanoid
from diffsim.tasks.humanoid_standup import HumanoidStandup
from diffsim.tasks.inverted_double_pendulum import InvertedDoublePendulum
from diffsim.tasks.inverted_pendulum import InvertedPendulum
from diffsim.tasks.point_push import PointPush
from diffsim.tasks.pusher import Pusher
from diffsim.tasks.reacher import Reacher
from diffsim.tasks.reacher_goal import ReacherGoal
from diffsim.tasks.rllab.acrobot import RllabAcrobot
from diffsim.tasks.rllab.ant import RllabAnt
from diffsim.tasks.rllab.cart_pole import RllabCartPole
from diffsim.tasks.rllab.cart_pole_swing_up import RllabCartPoleSwingUp
from diffsim.tasks.rllab.double_pendulum import RllabDoublePendulum
from diffsim.tasks.rllab.half_cheetah import RllabHalfCheetah
from diffsim.tasks.rllab.hierarchical import RllabAntGather, RllabAntMaze, RllabSwimmerGather, RllabSwimmerMaze
from diffsim.tasks.rllab.hopper import RllabHopper
from diffsim.tasks.rllab.humanoid import RllabHumanoid
from diffsim.tasks.rllab.mountain_car import RllabMountainCar
from diffsim.tasks.rllab.simple_humanoid import RllabSimpleHumanoid
from diffsim.tasks.rllab.swimmer import RllabSwimmer
from diffsim.tasks.rllab.walker2d import RllabWalker2d
from diffsim.tasks.swimmer import Swimmer
from diffsim.tasks.task import Task
from diffsim.tasks.walker2d import Walker2d

GROUP = "diffsim.tasks"
"""Entry points of installed packages: a task's id, and `module:class`."""

RLLAB_TASKS: dict[str, type[Task]] = {
    "RllabAcrobot-v0": RllabAcrobot,
    "RllabAnt-v0": RllabAnt,
    "RllabAntGather-v0": RllabAntGather,
    "RllabAntMaze-v0": RllabAntMaze,
    "RllabCartPole-v0": RllabCartPole,
    "RllabCartPoleSwingUp-v0": RllabCartPoleSwingUp,
    "RllabDoublePendulum-v0": RllabDoublePendulum,
    "RllabHalfCheetah-v0": RllabHalfCheetah,
    "RllabHopper-v0": RllabHopper,
    "RllabHumanoid-v0": RllabHumanoid,
    "RllabSimpleHumanoid-v0": RllabSimpleHumanoid,
    "RllabSwimmer-v0": RllabSwimmer,
    "RllabSwimmerGather-v0": RllabSwimmerGather,
    "RllabSwimmerMaze-v0": RllabSwimmerMaze,
    "RllabWalker2d-v0": RllabWalker2d,
}
"""The tasks of rllab's benchmark with a MuJoCo model."""

TASKS: dict[str, type[Task]] = {
    "Ant-v5": Ant,
    "CartPoleSwingUp-v0": CartPoleSwingUp,
    "G1Walk-v0": G1Walk,
    "Go1Walk-v0": Go1Walk,
    "HalfCheetah-v5": HalfCheetah,
    "Hopper-v5": Hopper,
    "Humanoid-v5": Humanoid,
    "HumanoidStandup-v5": HumanoidStandup,
    "InvertedDoublePendulum-v5": InvertedDoublePendulum,
    "InvertedPendulum-v5": InvertedPendulum,
    "PointPush-v0": PointPush,
    "Pusher-v5": Pusher,
    "Reacher-v5": Reacher,
    "ReacherGoal-v0": ReacherGoal,
    "Swimmer-v5": Swimmer,
    "Walker2d-v5": Walker2d,
    **RLLAB_TASKS,
}
"""The tasks of this package with a MuJoCo model, by their Gymnasium ids."""

HYBRID_TASKS: dict[str, type[Task]] = {"CartPoleGears-v0": CartPoleGears}
"""Those with a MuJoCo model whose actions have continuous and discrete parts."""

EQUATION_TASKS: dict[str, type[ConfigurableMDP]] = {
    "HelicopterHover-v0": HelicopterHover,
    "RllabMountainCar-v0": RllabMountainCar,
}
"""Those whose dynamics are equations in torch."""


def find_task(id: str) -> type[ConfigurableMDP] | None:
    """The task class of an id.

    Args:
        id: one of `TASKS`, `HYBRID_TASKS` or `EQUATION_TASKS`; or `module:MyTask-v0`, the class `MyTask` of an
            importable module (the version is optional); or the name of an entry point of an installed package, in the
            group `diffsim.tasks`.

    Returns: the class; None for any other id, which may be Gymnasium's: also for `module:Env-v0` where the module
    registers `Env-v0` with Gymnasium.

    Raises: ValueError if `id` names a module that cannot be found, or that has neither such a task nor such an
    environment; TypeError if an entry point is no task.
    """
    if found := {**TASKS, **HYBRID_TASKS}.get(id):
        return found
    if id in EQUATION_TASKS:
        return EQUATION_TASKS[id]
    if ":" in id:
        return _in_module(id)
    for entry_point in entry_points(group=GROUP, name=id):
        found = entry_point.load()
        if not is_task(found):
            raise TypeError(f"entry point {id!r} ({entry_point.value}) must be a subclass of Task, got {found!r}")
        return found
    return None


def task_class(id: str | type[Task]) -> type[Task]:
    """The task class of an id, or the class itself, for tasks with a MuJoCo model.

    Raises: ValueError if there is no such task of that id.
    """
    found = mdp_class(id)
    if not is_task(found):
        raise ValueError(f"id must be a task with a MuJoCo model, got {id!r}")
    return found


def mdp_class(id: str | type[ConfigurableMDP]) -> type[ConfigurableMDP]:
    """The class of any task's id, or the class itself.

    Raises: ValueError if there is no task of that id.
    """
    if is_task(id) or id in EQUATION_TASKS.values():
        return id  # pyright: ignore[reportReturnType]
    if not isinstance(id, str):
        raise TypeError(f"id must be a task's id or a subclass of Task, got {id!r}")
    found = find_task(id)
    if found is None:
        ids = task_ids()
        hint = "" if ":" in id else did_you_mean(id, ids)
        raise ValueError(f"id must be one of {', '.join(ids)}, or module:MyTask-v0; got {id!r}{hint}")
    return found


def task_ids() -> list[str]:
    """Ids of the tasks of this package and of installed packages."""
    installed = (entry_point.name for entry_point in entry_points(group=GROUP))
    return sorted({*TASKS, *HYBRID_TASKS, *EQUATION_TASKS, *installed})


def task_options(cls: type[ConfigurableMDP]) -> list[str]:
    """Names of the options of a task's constructor."""
    return [name for name in inspect.signature(cls).parameters if name not in ("num_envs", "device")]


def check_options(id: object, cls: type[ConfigurableMDP], options: Iterable[str]) -> None:
    """Raises TypeError for an option that the task's constructor does not have."""
    valid = task_options(cls)
    unknown = [name for name in options if name not in valid]
    if unknown:
        raise TypeError(f"options of {id} must be among {', '.join(valid)}; got {', '.join(unknown)}")


def is_task(value: Any) -> TypeGuard[type[Task]]:
    """Whether a value is a subclass of `Task`."""
    return isinstance(value, type) and issubclass(value, Task)


def _in_module(id: str) -> type[Task] | None:
    """The class of `module:MyTask-v0`; None if the module registers an environment of that name."""
    module_name, _, full_name = id.partition(":")
    module = _import(module_name, id)
    name = re.sub(r"-v\d+$", "", full_name)
    found = getattr(module, name, None)
    if is_task(found):
        return found
    if full_name in gymnasium.registry:
        return None
    tasks = [key for key, value in vars(module).items() if is_task(value) and value.__module__ == module.__name__]
    if found is not None:
        problem = f"its {name} is not a subclass of diffsim.tasks.Task"
    else:
        problem = f"it has no {name}{did_you_mean(name, tasks)}"
    raise ValueError(
        f"{id!r} must name a task or a registered Gymnasium environment of module {module_name!r}, but {problem} "
        f"(tasks there: {', '.join(tasks) or 'none'})"
    )


def _import(name: str, id: str) -> ModuleType:
    """Imports a module; errors within it are passed on."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not (name == error.name or name.startswith(error.name + ".")):
            raise  # a module that the module itself imports
        raise ValueError(
            f"{id!r} needs the module {name!r}, which is neither in the current folder nor in an installed package"
        ) from None
