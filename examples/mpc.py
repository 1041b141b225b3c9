"""Model predictive control: iterative LQR at every step, with Jacobians of the simulator, controls C MuJoCo.

    python -m examples.mpc

The pole of CartPoleSwingUp-v0 swings up and balances. No policy is trained. Per step of control:

    linearise   A_t, B_t along the plan (x_t, u_t), all time steps in one call of `linearize`
    backward    Q_uu = c_uu + B' P B,    K_t = -Q_uu^-1 B' P A,    k_t = -Q_uu^-1 (c_u + B' p)
    forward     u_t <- clip(u_t + alpha k_t + K_t (x_t - x_t of the plan)),    for several alpha; the best is kept

Source: Tassa, Erez & Todorov (2012), "Synthesis and stabilization of complex behaviors through online trajectory
optimization".
"""

from __future__ import annotations

import math
from pathlib import Path

import mujoco
import torch
from torch import Tensor

import diffsim
from diffsim.tasks import cart_pole_swing_up

HORIZON, FRAME_SKIP, STEPS = 40, 4, 100
WEIGHTS = torch.tensor([0.5, 0.0, 0.02, 0.02], dtype=diffsim.dtype)
"""Costs of the squared position and velocities; that of the angle is 2 (1 - cos)."""
CONTROL_WEIGHT = 0.05
ALPHAS = torch.tensor([1.0, 0.5, 0.25, 0.1, 0.03, 0.0], dtype=diffsim.dtype)


def cost(x: Tensor, u: Tensor) -> Tensor:
    """Cost of states [..., 4] and controls [..., 1]: [...]."""
    return 2 * (1 - x[..., 1].cos()) + (WEIGHTS * x**2).sum(-1) + CONTROL_WEIGHT * u[..., 0] ** 2


class Controller:
    """Iterative LQR over `HORIZON` steps, warm-started by the plan of the step before."""

    def __init__(self, mj_model: mujoco.MjModel) -> None:
        model = diffsim.Model(mj_model)
        self.along = diffsim.Simulator(model, num_worlds=HORIZON)  # a world per time step of the plan
        self.tries = diffsim.Simulator(model, num_worlds=len(ALPHAS))  # a world per alpha
        self.controls = 0.1 * torch.ones(HORIZON, 1, dtype=diffsim.dtype)  # hanging at rest is a stationary point

    def __call__(self, state: Tensor, iterations: int = 2) -> Tensor:
        """The control [1] in `state` [4]."""
        still = torch.zeros(HORIZON, 1, dtype=diffsim.dtype), torch.zeros(HORIZON, 1, 4, dtype=diffsim.dtype)
        states, controls = self.forward(state, torch.zeros(HORIZON + 1, 4, dtype=diffsim.dtype), *still)
        for _ in range(iterations):
            self.controls = controls
            a, b = self.along.linearize(states[:-1], controls, FRAME_SKIP)
            states, controls = self.forward(state, states, *self.backward(states, a, b))
        self.controls = torch.cat([controls[1:], controls[-1:]])
        return controls[0]

    def backward(self, states: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        """Changes k [H, 1] and gains K [H, 1, 4] of the controls, by dynamic programming."""
        gradient = 2 * WEIGHTS * states
        gradient[:, 1] += 2 * states[:, 1].sin()
        hessian = torch.diag_embed((2 * WEIGHTS).expand(HORIZON + 1, 4).clone())
        hessian[:, 1, 1] += 2 * states[:, 1].cos().clamp_min(0)  # keeps the quadratic model convex
        changes, gains = torch.zeros(HORIZON, 1, dtype=diffsim.dtype), torch.zeros(HORIZON, 1, 4, dtype=diffsim.dtype)
        p, P = gradient[-1], hessian[-1]
        for t in reversed(range(HORIZON)):
            A, B = a[t], b[t]
            u = 2 * CONTROL_WEIGHT * self.controls[t]
            curvature = 2 * CONTROL_WEIGHT + B.T @ P @ B  # [1, 1]
            changes[t], gains[t] = -(u + B.T @ p) / curvature[0], -(B.T @ P @ A) / curvature
            closed = A + B @ gains[t]
            p = gradient[t] + gains[t].T @ u + closed.T @ (p + P @ B @ changes[t])
            P = hessian[t] + 2 * CONTROL_WEIGHT * gains[t].T @ gains[t] + closed.T @ P @ closed
        return changes, gains

    def forward(self, start: Tensor, plan: Tensor, changes: Tensor, gains: Tensor) -> tuple[Tensor, Tensor]:
        """The best of the roll-outs with each alpha: states [H + 1, 4] and controls [H, 1]."""
        x, total = start.expand(len(ALPHAS), 4), torch.zeros(len(ALPHAS), dtype=diffsim.dtype)
        states, controls = [x], []
        for t in range(HORIZON):
            u = self.controls[t] + ALPHAS[:, None] * changes[t] + (x - plan[t]) @ gains[t].T
            u = u.clamp(-1, 1)
            x = self.tries.step(x, u, FRAME_SKIP)
            total = total + cost(x, u)
            states.append(x)
            controls.append(u)
        best = total.argmin()
        return torch.stack(states)[:, best], torch.stack(controls)[:, best]


def main(steps: int = STEPS) -> list[tuple[float, float]]:
    """Swings the pole up in C MuJoCo. Returns time (s) and angle from upright (rad) after each step of control."""
    path = Path(cart_pole_swing_up.__file__).with_suffix(".xml")
    model = mujoco.MjModel.from_xml_path(str(path))
    data = mujoco.MjData(model)
    data.qpos[1] = math.pi  # the pole hangs
    controller, rows = Controller(model), []
    for step in range(steps):
        state = torch.tensor([*data.qpos, *data.qvel], dtype=diffsim.dtype)
        data.ctrl[:] = controller(state).numpy()
        mujoco.mj_step(model, data, FRAME_SKIP)
        angle = abs(math.remainder(data.qpos[1], 2 * math.pi))
        rows.append((data.time, angle))
        if step % 10 == 9:
            print(f"{data.time:4.1f} s: the pole is {angle:5.3f} rad from upright, the cart at {data.qpos[0]:+.2f} m")
    return rows


if __name__ == "__main__":
    main()
