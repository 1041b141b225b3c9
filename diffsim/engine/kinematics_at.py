"""Functions of positions, velocities and accelerations at given poses of mocap bodies, and with given parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import final

from torch import Tensor

from diffsim.engine.frames import Frames
from diffsim.engine.kinematics import Kinematics, Names
from diffsim.engine.launch import Launch
from diffsim.engine.motion_calls import BodyMotion
from diffsim.engine.subtrees import Subtrees


@final
class KinematicsAt(Kinematics):
    """`Kinematics` for other poses of mocap bodies and other parameters than the model's own.

    Args:
        launch: launches of the worlds.
        row: [N, num_inputs] of `WorldInputs`, with the poses.
        vector: of `Parameters.vector`; None for the model's own parameters.
        parameters: the fields that are given.
    """

    def __init__(self, launch: Launch, row: Tensor, vector: Tensor | None, parameters: Mapping[str, Tensor]) -> None:
        super().__init__(launch)
        self._row = row
        self._vector = vector
        self._parameters = parameters

    def motion(  # noqa: D102
        self,
        qpos: Tensor,
        qvel: Tensor | None = None,
        qacc: Tensor | None = None,
        inputs: Tensor | None = None,
        vector: Tensor | None = None,
    ) -> BodyMotion:
        return super().motion(qpos, qvel, qacc, inputs, self._vector if vector is None else vector)

    def frames_of(self, objects: Sequence[tuple[int, int]]) -> Frames:  # noqa: D102
        return super().frames_of(objects).moved(self._parameters)

    @cached_property
    def subtrees(self) -> Subtrees:
        """Sums over subtrees."""
        return Subtrees(self.model, self.device).changed(self._parameters)

    @property
    def _vector_of_all(self) -> Tensor | None:
        return self._vector

    def _positions(self, qpos: Tensor, kind: str, objects: Names) -> Tensor:
        return self.frames(kind, objects).positions(self.motion(qpos))
