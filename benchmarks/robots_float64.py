"""The part of `benchmarks.robots` in float64, which the import of diffsim sets; `benchmarks.robots` starts it.

python -m benchmarks.robots_float64 SOURCE.npz TARGET.npz MODEL ...
"""

from __future__ import annotations

import os

os.environ["DIFFSIM_X64"] = "1"  # read when diffsim is imported

import sys  # noqa: E402
from pathlib import Path  # noqa: E402

import mujoco  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402

import diffsim  # noqa: E402
from benchmarks import robot_models  # noqa: E402
from tests.diffsim import contact_reference as reference  # noqa: E402
from tests.diffsim.reference import Stepper  # noqa: E402

STATES = 8
"""States whose Jacobians are compared with central differences."""


def cosines(mj_model: mujoco.MjModel, arrays: dict[str, np.ndarray]) -> np.ndarray:
    """Cosines [N] between gradients in float64 and those of `arrays`."""
    state, ctrl = (torch.tensor(arrays[x], dtype=torch.float64, requires_grad=True) for x in ("state", "ctrl"))
    simulator = diffsim.Simulator(diffsim.Model(mj_model), len(state))
    torch.autograd.backward(simulator.step(state, ctrl), torch.tensor(arrays["weight"]).double())
    ours = torch.cat([x.grad for x in (state, ctrl) if x.grad is not None], dim=1).numpy()
    other = arrays["gradient"].astype(np.float64)
    return (ours * other).sum(1) / (np.linalg.norm(ours, axis=1) * np.linalg.norm(other, axis=1))


def parity(mj_model: mujoco.MjModel, states: np.ndarray, ctrls: np.ndarray) -> tuple[float, float, int]:
    """Largest relative errors of steps [N] and of Jacobians at the first STATES; and how many of these are smooth."""
    simulator = diffsim.Simulator(diffsim.Model(mj_model), len(states))
    state, ctrl = torch.tensor(states), torch.tensor(ctrls)
    expected = robot_models.MujocoStep(mj_model)(states, ctrls)
    step = np.abs(simulator.step(state, ctrl).numpy() - expected).max(1) / (1 + np.abs(expected).max(1))
    ours = torch.cat(simulator.linearize(state, ctrl), dim=2).numpy()
    tracer, stepper, sizes = reference.Tracer(mj_model), Stepper(mj_model), reference.difference_steps(mj_model)
    errors = []
    for world, place in enumerate(zip(states[:STATES], ctrls[:STATES], strict=True)):
        if reference.switch(tracer, *place, 1, sizes) is None:
            truth, _ = reference.extrapolated_differences(mj_model, stepper, *place, 1, sizes)
            errors.append(np.linalg.norm(ours[world] - truth) / np.linalg.norm(truth))
    return float(step.max()), max(errors, default=np.nan), len(errors)


def main(arguments: list[str]) -> None:
    """Reads states and gradients of each model from SOURCE, and writes cosines and parity to TARGET."""
    source, target, *paths = arguments
    results = {}
    with np.load(source) as file:
        for index, path in enumerate(paths):
            arrays = {name: file[f"{index}/{name}"] for name in ("state", "ctrl", "weight", "gradient")}
            mj_model = mujoco.MjModel.from_xml_path(str(Path(path)))
            robot_models.converge(mj_model, 1e-14)
            states, ctrls = (arrays[name].astype(np.float64) for name in ("state", "ctrl"))
            results[f"{index}/cosine"] = cosines(mj_model, arrays)
            results[f"{index}/parity"] = np.array(parity(mj_model, states, ctrls))
    np.savez(target, **results)


if __name__ == "__main__":
    mujoco.set_mju_user_warning(lambda message: None)
    main(sys.argv[1:])
