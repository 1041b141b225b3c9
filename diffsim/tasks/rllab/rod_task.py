"""Base class of the tasks of rllab's benchmark whose poles or links may have lengths drawn anew at every reset."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from diffsim.tasks.random_model import RandomModelTask
from diffsim.tasks.rllab.rllab_task import RllabTask


class RodTask(RandomModelTask, RllabTask):
    """A task whose model has R homogeneous rods along z, each on the end of the one before.

    Attributes:
        rods: names of their bodies, whose origins are their joints.
        direction: 1 for rods upwards from their joints, -1 for rods downwards.
    """

    rods: ClassVar[tuple[str, ...]]
    direction: ClassVar[float] = 1.0

    def setup(self) -> None:
        """Keeps the fields of the compiled model that lengths change."""
        super().setup()
        model, options = self.mj_model, {"dtype": self.dtype, "device": self.device}
        names = ("body_mass", "body_inertia", "body_ipos", "body_pos")
        self._fields = {name: torch.tensor(getattr(model, name), **options) for name in names}
        self._bodies = torch.tensor([model.body(name).id for name in self.rods], device=self.device)

    @abstractmethod
    def mass_and_inertia(self, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Of rods of lengths [N, R]: masses [N, R] kg, moments of inertia about the centres' axes [N, R, 3] kg m^2."""

    def parameters(self, lengths: Tensor) -> dict[str, Tensor]:
        """Masses, inertias, centres of mass and positions of the bodies for lengths [N, K]; one length is that of all.

        Returns: body_mass [N, nbody], body_inertia, body_ipos and, for several rods, body_pos [N, nbody, 3].
        """
        each = lengths.expand(-1, len(self.rods))
        mass, inertia = self.mass_and_inertia(each)
        found = {
            "body_mass": self._with_rows("body_mass", self._bodies, mass),
            "body_inertia": self._with_rows("body_inertia", self._bodies, inertia),
            "body_ipos": self._with_rows("body_ipos", self._bodies, self._along(each / 2)),
        }
        if len(self.rods) > 1:
            found["body_pos"] = self._with_rows("body_pos", self._bodies[1:], self._along(each[:, :-1]))
        return found

    def _along(self, distance: Tensor) -> Tensor:
        """Points at a distance [N, R] along the rods: [N, R, 3]."""
        zero = torch.zeros_like(distance)
        return torch.stack([zero, zero, self.direction * distance], dim=2)

    def _with_rows(self, name: str, bodies: Tensor, rows: Tensor) -> Tensor:
        """A field of the compiled model, with the rows of some bodies replaced: [N, nbody, ...]."""
        field = self._fields[name]
        return field.expand(len(rows), *field.shape).index_copy(1, bodies, rows)


def box_mass_and_inertia(lengths: Tensor, density: float, width: float) -> tuple[Tensor, Tensor]:
    """Of boxes of lengths [N, R] along z, square in cross-section: masses [N, R], moments of inertia [N, R, 3].

    Args:
        lengths: m.
        density: mass per area of the side, kg/m^2, as in Box2D.
        width: m.
    """
    mass = density * width * lengths
    across = mass * (width**2 + lengths.square()) / 12
    return mass, torch.stack([across, across, mass * width**2 / 6], dim=2)
