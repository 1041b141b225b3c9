"""Our simulator with NumPy inputs and outputs, and its Jacobians in raw and in tangent coordinates."""

import mujoco
import numpy as np
import torch

import diffsim

from .reference import tangent_basis


def simulator(mj_model: mujoco.MjModel, num_worlds: int) -> diffsim.Simulator:
    """The simulator of a model on the CPU."""
    return diffsim.Simulator(diffsim.Model(mj_model), num_worlds)


def tensors(*arrays: np.ndarray, requires_grad: bool = False) -> list[torch.Tensor]:
    """Arrays in the simulator's precision."""
    return [torch.tensor(array, dtype=diffsim.dtype, requires_grad=requires_grad) for array in arrays]


def step(mj_model: mujoco.MjModel, state: np.ndarray, ctrl: np.ndarray, num_steps: int = 1) -> np.ndarray:
    """State [N, nq + nv] after `num_steps` of our simulator."""
    return simulator(mj_model, len(state)).step(*tensors(state, ctrl), num_steps=num_steps).numpy()


class OwnStepper:
    """Our simulator of one world, with the methods of `Stepper`."""

    def __init__(self, mj_model: mujoco.MjModel) -> None:
        self.simulator = simulator(mj_model, 1)

    def step(self, state: np.ndarray, ctrl: np.ndarray, num_steps: int = 1) -> np.ndarray:
        return self.simulator.step(*tensors(state[None], ctrl[None]), num_steps=num_steps).numpy()[0]


def contacts(sim: diffsim.Simulator, state: np.ndarray, ctrl: np.ndarray) -> list[tuple[tuple[int, int], np.ndarray]]:
    """Active contacts at one world's state [nq + nv], as geoms and (point, normal) [6]; sorted by geoms."""
    sim.forward(*tensors(state[None], ctrl[None]))
    scratch, arrays = sim.launch.scratches[0], sim.launch.arrays[0]
    count = int(scratch.contact_count.numpy()[0])
    pairs = scratch.contact_pair.numpy()[0, :count]
    geoms = np.stack([arrays.pair_geom1.numpy()[pairs], arrays.pair_geom2.numpy()[pairs]], axis=1)
    points = scratch.contact_point.numpy()[0, :count]
    normals = scratch.contact_frame.numpy()[0, :count, 0]
    found = [((int(a), int(b)), np.concatenate(place)) for (a, b), *place in zip(geoms, points, normals, strict=True)]
    return sorted(found, key=lambda contact: contact[0])


def raw_jacobian(outputs: torch.Tensor, *inputs: torch.Tensor) -> np.ndarray:
    """Derivative of outputs [N, O] by inputs [N, I...], world by world: [N, O, sum of I].

    One backward pass per output gives a row of every world, because worlds are independent.
    """
    rows = []
    for index in range(outputs.shape[1]):
        grads = torch.autograd.grad(outputs[:, index].sum(), inputs, retain_graph=True, materialize_grads=True)
        rows.append(torch.cat(grads, dim=1))
    return torch.stack(rows, dim=1).detach().numpy()


def tangent_jacobian(
    mj_model: mujoco.MjModel, raw: np.ndarray, state: np.ndarray, next_state: np.ndarray
) -> np.ndarray:
    """Converts a Jacobian [N, S, S + nu] in raw coordinates, S = nq + nv + na, to the tangent space."""
    nq, nv = mj_model.nq, mj_model.nv
    result = []
    for matrix, start, end in zip(raw, state, next_state, strict=True):
        right = np.eye(len(start) + mj_model.nu)
        left = np.eye(len(end))
        right = np.delete(right, np.s_[nv:nq], axis=1)
        right[:nq, :nv] = tangent_basis(mj_model, start[:nq])
        left = np.delete(left, np.s_[nv:nq], axis=0)
        left[:nv, :nq] = np.linalg.pinv(tangent_basis(mj_model, end[:nq]))
        result.append(left @ matrix @ right)
    return np.array(result)
