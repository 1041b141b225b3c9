"""A task stepped by C MuJoCo, with central differences as derivatives."""

from __future__ import annotations

from copy import copy

from diffsim.checks import require
from diffsim.engine.black_box_simulator import BlackBoxSimulator
from diffsim.tasks.task import Task
from diffsim.wrappers import MDPWrapper


class FiniteDifferenceMDP(MDPWrapper):
    """A task with C MuJoCo's transitions. Their derivatives are central differences in the tangent space.

        df/dx_i = (f(x (+) h e_i) - f(x (-) h e_i)) / (2 h),    x = (q, v, act, u, applied force)

    It runs any model, with any integrator and any feature. A gradient costs two steps per number of (q, v, act, u,
    force) and world, shared by a pool of processes. Reward, observation and their gradients are
    the task's own. Quantities of the last evaluation of the dynamics that they read are differentiated the same way,
    except those that the simulator holds constant. Where a bound or a contact switches within h, a difference is the
    mean of both sides.

    A task of your own is a subclass of `Task`. Set `simulated = False` if the simulator does not support its model:
    `Task` then uses C MuJoCo and central differences by itself, in one process; this class adds more processes.

    Args:
        task: what to run. It is copied.
        num_workers: processes that step, >= 0; 0 means this process. They are spawned: a script that uses them
            needs `if __name__ == "__main__":`.
        perturbation: h, in m, rad, m/s, rad/s, the actions' units, N and N m, > 0.

    Raises: ValueError if an argument is out of range, or the task has a random model.
    """

    def __init__(self, task: Task, *, num_workers: int = 1, perturbation: float = 1e-6) -> None:
        if isinstance(num_workers, bool) or not isinstance(num_workers, int) or num_workers < 0:
            raise ValueError(f"num_workers must be an int >= 0, got {num_workers!r}")
        if not 0 < perturbation < float("inf"):
            raise ValueError(f"perturbation must be finite and > 0, got {perturbation}")
        require(not getattr(task, "random_model", False), "task.random_model", "False for finite differences", True)
        self.task = copy(task)
        self.simulator = BlackBoxSimulator(task.mj_model, num_workers, perturbation)
        self.task.simulator = self.simulator  # pyright: ignore[reportAttributeAccessIssue]
        super().__init__(self.task)

    def close(self) -> None:
        """Ends the processes. They also end with the program."""
        self.simulator.pool.close()

    def __enter__(self) -> FiniteDifferenceMDP:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
