"""The competition's own controller of the helicopter, and roll-outs."""

import torch

import diffsim


def baseline(obs):
    """The "weak" controller that came with the RL competition."""
    u, v, w, x, y, z, _, _, _, qx, qy, qz = obs.unbind(-1)
    aileron = -0.0196 * y - 0.0367 * v - 0.7475 * qx + 0.02
    elevator = -0.0185 * x - 0.0322 * u + 0.7904 * qy
    return torch.stack([aileron, elevator, -0.1969 * qz, 0.0513 * z + 0.1348 * w + 0.23], dim=-1)


@torch.no_grad()
def fly(controller, num_envs=1, steps=6000, seed=0, wind=None, **options):
    """Returns [N], steps flown [N] and the last state of first episodes; `wind` [N, 2] is that of each copy."""
    mdp = diffsim.make("HelicopterHover-v0", num_envs=num_envs, **options)
    generator = torch.Generator().manual_seed(seed)
    state = mdp.initial(generator)
    if wind is not None:
        mdp.split(state).wind.copy_(wind)  # a view
    flying, length, total = torch.ones(num_envs, dtype=torch.bool), torch.zeros(num_envs), torch.zeros(num_envs)
    for _ in range(steps):
        action = controller(mdp.observation(state))
        noise = torch.randn(num_envs, 6, generator=generator, dtype=mdp.dtype)
        reached = mdp.transition(state, action, noise)
        total += torch.where(flying, mdp.reward(state, action, reached), 0.0)
        length += flying
        state = torch.where(flying[:, None], reached, state)
        flying = flying & ~mdp.terminal(reached)
        if not flying.any():
            break
    return total, length, state
