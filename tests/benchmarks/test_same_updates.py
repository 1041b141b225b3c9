"""One iteration of ours and of Stable-Baselines3, from the same weights and experience, gives the same weights.

Episodes end by a fall and by a limit of 20 steps. Minibatches are whole batches, so their order does not matter.
Observations and rewards are not normalised. The tolerance is 1% of the step, for two intended differences: our
standard deviation of the advantages divides by N, theirs by N - 1 (0.2% with 256), and Adam's epsilon for TRPO's value
is 1e-8 in ours and 1e-5 in theirs.
"""

import numpy as np
import pytest
import torch

from diffsim.policies import GaussianMLP
from diffsim.trainers.experience.rollout import Trajectory
from diffsim.trainers.experience.vector_env import make_env
from diffsim.trainers.likelihood_ratio.a2c import A2C
from diffsim.trainers.likelihood_ratio.on_policy import POLICY_DEFAULTS
from diffsim.trainers.likelihood_ratio.ppo import PPO
from diffsim.trainers.likelihood_ratio.trpo import TRPO

peers = pytest.importorskip("stable_baselines3", reason="needs the test extra")
contrib = pytest.importorskip("sb3_contrib", reason="needs the test extra")

NUM_ENVS, LIMIT = 4, {"max_episode_steps": 20}
CASES = {
    "PPO": (
        (PPO, {"horizon": 64, "epochs": 3, "minibatches": 1}),
        (peers.PPO, {"n_steps": 64, "n_epochs": 3, "batch_size": 256}),
    ),
    "A2C": ((A2C, {"horizon": 30, "updates": 1}), (peers.A2C, {"n_steps": 30})),
    # Their divergence is the mean over the three dimensions of an action, ours the sum.
    "TRPO": (
        (TRPO, {"horizon": 64, "max_kl": 0.03, "damping": 0.3, "value_epochs": 3, "value_minibatches": 1}),
        (contrib.TRPO, {"n_steps": 64, "n_critic_updates": 3, "batch_size": 256}),
    ),
}


class Recorder(peers.common.vec_env.VecEnvWrapper):
    """Records next observation, reward and ends of each step."""

    def __init__(self, env):
        super().__init__(env)
        self.steps = []

    def reset(self):
        return self.venv.reset()

    def step_wait(self):
        obs, reward, done, infos = self.venv.step_wait()
        reached = [info["terminal_observation"] if over else o for o, over, info in zip(obs, done, infos, strict=True)]
        truncated = np.array([info.get("TimeLimit.truncated", False) for info in infos])
        self.steps.append((np.stack(reached), reward.copy(), done & ~truncated, truncated))
        return obs, reward, done, infos


def parameter_pairs(algorithm, state):
    """Pairs of our parameters and their parameters in `state`."""
    pairs = [(algorithm.actor.log_std, state["log_std"])]
    for network, body, head in (
        (algorithm.actor.network, "mlp_extractor.policy_net", "action_net"),
        (algorithm.value.network, "mlp_extractor.value_net", "value_net"),
    ):
        for layer, name in ((0, f"{body}.0"), (2, f"{body}.2"), (4, head)):
            pairs += [(network[layer].weight, state[f"{name}.weight"]), (network[layer].bias, state[f"{name}.bias"])]
    return pairs


@pytest.mark.parametrize("name", CASES)
def test_the_update_equals_stable_baselines3s(name):
    (cls, options), (peer, peer_options) = CASES[name]
    copies = peers.common.env_util.make_vec_env("Hopper-v5", NUM_ENVS, seed=0, env_kwargs=LIMIT)
    agent = peer("MlpPolicy", Recorder(copies), seed=0, device="cpu", **peer_options)
    agent.learn(1)  # the first window, so that the compared one starts in the middle of episodes
    before = {key: value.clone() for key, value in agent.policy.state_dict().items()}
    agent.policy.optimizer.state.clear()
    agent.env.steps.clear()
    _, callback = agent._setup_learn(10**6, reset_num_timesteps=False)
    agent.collect_rollouts(agent.env, callback, agent.rollout_buffer, agent.n_steps)
    parts = map(np.stack, zip(*agent.env.steps, strict=True))
    reached, reward, terminated, truncated = map(torch.as_tensor, parts)
    obs, raw = (torch.tensor(getattr(agent.rollout_buffer, part)).float() for part in ("observations", "actions"))
    trajectory = Trajectory(obs, raw, reward.float(), reached.float(), terminated, truncated)
    assert terminated.any() and truncated.any()
    agent.train()

    env = make_env("Hopper-v5", NUM_ENVS, **LIMIT)
    defaults = {**POLICY_DEFAULTS, "clip_obs": None}
    policy = GaussianMLP(env.single_observation_space, env.single_action_space, normalize=False, **defaults)
    algorithm = cls(env, policy, normalize_reward=False, **options)
    with torch.no_grad():
        for mine, theirs in parameter_pairs(algorithm, before):
            mine.copy_(theirs)
    algorithm.collect_window = lambda horizon: (trajectory, raw)
    algorithm.iterate()

    after = parameter_pairs(algorithm, agent.policy.state_dict())
    for (mine, theirs), (_, start) in zip(after, parameter_pairs(algorithm, before), strict=True):
        assert (mine - theirs).norm() < 0.01 * (theirs - start).norm()
