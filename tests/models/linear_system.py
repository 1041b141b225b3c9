"""A linear system with Gaussian noise, its data, and a model that equals it."""

import torch

from diffsim.models import Data, WorldModel, from_windows
from tests.trainers.linear_gaussian import NoisyLinearQuadratic

NOISE = torch.tensor([0.3, 0.1], dtype=torch.float64)


class LinearGaussianSystem(NoisyLinearQuadratic):
    """x' = A x + B u + diag(NOISE) w, with quadratic cost."""

    def transition(self, state, action, noise=None):
        return state @ self.A.T + action @ self.B.T + NOISE * noise


def quadratic_reward(obs, action, next_obs):
    mdp = LinearGaussianSystem(1)
    return mdp.reward(obs, action, next_obs)


def system_data(count, seed=0, episode_length=5, num_envs=None):
    """`count` transitions under random actions, in float64."""
    generator = torch.Generator().manual_seed(seed)
    num_envs = count // episode_length if num_envs is None else num_envs
    mdp = LinearGaussianSystem(num_envs)
    state, steps = mdp.initial(generator), []
    for _ in range(episode_length):
        action = 4 * torch.rand(num_envs, 1, generator=generator, dtype=torch.float64) - 2
        noise = torch.randn(num_envs, 2, generator=generator, dtype=torch.float64)
        reached = mdp.transition(state, action, noise)
        ends = torch.zeros(num_envs, dtype=torch.bool)
        steps.append((state, action, mdp.reward(state, action, reached), reached, ends, ends))
        state = reached
    return from_windows(*map(torch.stack, zip(*steps, strict=True)))


def linear_model(noise="constant", num_members=1, **kwargs):
    torch.manual_seed(0)
    options = {"num_elites": num_members, "hidden_sizes": (), "noise": noise, "reward": quadratic_reward, **kwargs}
    return WorldModel(2, 1, num_members=num_members, **options).double()


def perfect_model(**kwargs):
    """The model that equals the system."""
    model, mdp = linear_model(**kwargs), LinearGaussianSystem(1)
    with torch.no_grad():
        layer = model.dynamics.network[-1]
        layer.weight.copy_(torch.cat([mdp.A - torch.eye(2, dtype=torch.float64), mdp.B], dim=1).T)
        layer.bias.zero_()
        if model.dynamics.noise == "constant":
            model.dynamics.log_std.copy_(NOISE.log())
    return model


def matrices(model, member=0):
    """A, B and the standard deviation of the noise in the model."""
    dynamics = model.dynamics
    weight = dynamics.network[-1].weight[member].detach().T * dynamics.out_std[:, None] / dynamics.in_std
    A = weight[:, :2] + torch.eye(2, dtype=weight.dtype)
    return A, weight[:, 2:], dynamics.log_std[member, 0].detach().exp() * dynamics.out_std


__all__ = ["Data", "LinearGaussianSystem", "linear_model", "matrices", "perfect_model", "system_data"]
