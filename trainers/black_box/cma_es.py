"""Covariance matrix adaptation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from cmaes import CMA, SepCMA
from torch import Tensor

from diffsim.trainers.black_box.candidates import Candidates, Vectors
from diffsim.trainers.black_box.gaussian import check_full_size
from diffsim.trainers.black_box.search import PopulationSearch
from diffsim.trainers.black_box.shares import Answer
from diffsim.trainers.metrics import Metric
from diffsim.trainers.options import option


class CMAES(PopulationSearch):
    """Covariance matrix adaptation evolution strategy, by the library `cmaes`.

    The full covariance takes O(D^2) memory and O(D^3) time per generation, for at most 4,000 parameters; the separable
    one adapts its diagonal only, in O(D). The policy has the mean as its parameters.

    The library is `cmaes` (Nomura & Shibata 2024), rather than `pycma`: it has both forms, depends on NumPy alone, and
    keeps its state in plain arrays, so that a checkpoint needs no pickle.

    Source: Hansen (2016), "The CMA Evolution Strategy: A Tutorial"; Ros & Hansen (2008), "A simple modification in
    CMA-ES achieving linear time and space complexity", for the separable form.
    """

    population: int | None = option("P, members of a generation; 4 + floor(3 log D) if None.", ">= 2", default=None)
    init_std: float = option("standard deviation of every parameter at the start.", "finite and > 0", default=0.5)
    separable: bool = option("adapt the diagonal of the covariance only.", default=False)

    def setup(self) -> None:
        """Makes the optimizer.

        Raises: ValueError if the policy is too large for a full covariance.
        """
        super().setup()
        if not self.separable:
            check_full_size(self.size, "separable=True")
        seed = int(torch.randint(2**31, (), generator=self.generator, device=self.device))
        kind = SepCMA if self.separable else CMA
        self.cma = kind(self.vector().numpy(), self.init_std, seed=seed, population_size=self.population)

    def ask(self) -> Candidates:
        """Draws the members."""
        return Vectors(torch.as_tensor(np.stack([self.cma.ask() for _ in range(self.cma.population_size)])))

    def tell(self, candidates: Candidates, returns: Tensor, answer: Answer) -> dict[str, Metric]:
        """Adapts mean, step size and covariance. The library minimises."""
        rows = candidates.vectors().numpy()
        self.cma.tell([(row, -value) for row, value in zip(rows, returns.tolist(), strict=True)])
        self.set_policy(torch.as_tensor(self.cma.mean))
        return {"sigma": float(vars(self.cma)["_sigma"])}

    def training_state(self) -> dict[str, Any]:
        """Adds the state of the optimizer, as tensors and numbers."""
        state = {}
        for name, value in vars(self.cma).items():
            if isinstance(value, np.random.RandomState):
                _, keys, *rest = value.get_state(legacy=True)
                state[name] = [torch.as_tensor(np.asarray(keys, dtype=np.int64)), *rest]
            else:
                state[name] = torch.as_tensor(value.copy()) if isinstance(value, np.ndarray) else _plain(value)
        return {**super().training_state(), "cma": state}

    def load_training_state(self, saved: Mapping[str, Any]) -> None:
        """Restores what `training_state` returned."""
        super().load_training_state(saved)
        for name, value in saved["cma"].items():
            if isinstance(value, list):
                keys, *rest = value
                vars(self.cma)[name].set_state(("MT19937", keys.numpy().astype(np.uint32), *rest))
            else:
                setattr(self.cma, name, value.numpy().copy() if isinstance(value, Tensor) else value)


def _plain(value: Any) -> Any:
    """A NumPy scalar as Python's."""
    return value.item() if isinstance(value, np.generic) else value
