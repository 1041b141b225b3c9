"""Plays a policy that `diffsim export RUN --format npz` wrote, with NumPy and MuJoCo alone.

    diffsim fit --config shac_hopper
    diffsim export runs/Hopper-v5-SHAC-seed-0 --format npz
    python examples/numpy_player.py runs/Hopper-v5-SHAC-seed-0/policy.npz hopper.xml

hopper.xml is the model of Gymnasium's Hopper-v5. `Player` is all that a robot needs: copy it.
"""

import sys

import mujoco
import numpy as np

ACTIVATIONS = {
    "tanh": np.tanh,
    "relu": lambda x: np.maximum(x, 0.0),
    "elu": lambda x: np.where(x > 0.0, x, np.expm1(np.minimum(x, 0.0))),
    "silu": lambda x: x / (1.0 + np.exp(-x)),
    "softplus": lambda x: np.logaddexp(0.0, x),
}


class Player:
    """A policy in the arrays of an npz file: maps observations [..., O] to actions, as `env.step` takes them."""

    def __init__(self, path: str) -> None:
        self.p = dict(np.load(path))
        self.depth = sum(name.startswith("weight") for name in self.p)

    def __call__(self, obs: np.ndarray) -> np.ndarray:
        """The mean or likeliest actions."""
        p = self.p
        x = np.clip((np.asarray(obs) - p["mean"]) / p["scale"], -p["clip"], p["clip"])
        for k in range(self.depth):
            x = x @ p[f"weight{k}"].T + p[f"bias{k}"]
            if f"gain{k}" in p:  # layer norm
                x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
                x = x * p[f"gain{k}"] + p[f"shift{k}"]
            x = ACTIVATIONS[str(p["activation"])](x) if k < self.depth - 1 else x
        if p["kind"] == "bits":
            return (x > 0).astype(np.int8)
        if p["kind"] == "choice":
            parts = np.split(x[..., : p["counts"].sum()], np.cumsum(p["counts"])[:-1], axis=-1)
            action = p["start"] + np.stack([part.argmax(-1) for part in parts], axis=-1)
            return action[..., 0] if p["single"] else action
        x = x[..., : len(p["center"])]  # what follows are standard deviations
        unit = np.where(p["finite"], np.tanh(x) if p["kind"] == "tanh" else np.clip(x, -1.0, 1.0), x)
        return np.clip(p["center"] + p["half_width"] * unit, p["low"], p["high"])


def hop(player: Player, model: mujoco.MjModel, data: mujoco.MjData, steps: int) -> None:
    """Plays Hopper-v5 from the state in `data`: an action is held for four steps of MuJoCo."""
    for _ in range(steps):
        obs = np.concatenate([data.qpos[1:], np.clip(data.qvel, -10.0, 10.0)])
        data.ctrl[:] = player(obs)
        mujoco.mj_step(model, data, nstep=4)


if __name__ == "__main__":
    model = mujoco.MjModel.from_xml_path(sys.argv[2])
    data = mujoco.MjData(model)
    hop(Player(sys.argv[1]), model, data, 250)
    print(f"after 2 s: {data.qpos[0]:.2f} m forward, {data.qpos[1]:.2f} m high")
