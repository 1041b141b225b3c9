# %% [markdown]
# # A pendulum by BPTT
#
# This script trains a policy by back-propagation through the physics, with a loop of its own. You need no
# knowledge of the algorithms in `diffsim.trainers`. It takes about a minute on one CPU core.
#
# The task is Gymnasium's InvertedDoublePendulum-v5: keep two poles upright on a cart.

# %%
from pathlib import Path

import matplotlib.pyplot as plt
import torch

import diffsim
from diffsim.policies import DeterministicMLP
from diffsim.trainers import evaluate
from diffsim.trainers.experience.rollout import rollout

ITERATIONS = 150
HORIZON = 40
EPISODES = 10
OUTPUT = Path("runs/tutorials/pendulum_bptt.png")
torch.manual_seed(0)
torch.set_num_threads(1)

# %% [markdown]
# ## The task and the policy
#
# `mdp` has 32 copies of the task. Its functions take and return tensors with one row per copy. The policy is a
# perceptron whose output is squashed into the bounds of the action.

# %%
mdp = diffsim.make("InvertedDoublePendulum-v5", num_envs=32)
policy = DeterministicMLP(mdp.observation_space, mdp.action_space, hidden_sizes=(64, 64)).to(mdp.dtype)
generator = torch.Generator().manual_seed(0)
optimizer = torch.optim.Adam(policy.parameters(), lr=3e-3)

# %% [markdown]
# ## Training
#
# Each iteration rolls all copies out for 40 steps. The window begins where the last one ended, so that the policy
# meets states that are further from the start. `backward()` computes the exact gradient of the mean reward,
# through 40 steps of MuJoCo's dynamics. The gradient does not cross from one window to the next.
#
# The policy scales its input by the mean and the deviation of the observations so far.

# %%
state, age = mdp.initial(generator), torch.zeros(mdp.num_envs, dtype=torch.int64)
rewards = []
for iteration in range(ITERATIONS):
    optimizer.param_groups[0]["lr"] = 3e-3 * (1 - iteration / ITERATIONS)
    scenarios = diffsim.Scenarios.draw(mdp, HORIZON, generator).starting_from(state)
    trajectory, worlds = rollout(mdp, policy, scenarios, age=age, max_age=600)
    loss = -trajectory.reward.mean()
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(policy.parameters(), 1.0)
    optimizer.step()
    if policy.normalizer is not None:
        policy.normalizer.update(trajectory.obs)
    state, age = worlds.state, worlds.age
    rewards.append(-loss.item())
    if iteration % 25 == 24:
        print(f"iteration {iteration + 1}: mean reward {rewards[-1]:.3f}")

# %% [markdown]
# ## Evaluation in the official environment
#
# `evaluate` runs whole episodes of Gymnasium's environment, on C MuJoCo. The highest return is about 9,350.

# %%
episodes = evaluate(policy, "InvertedDoublePendulum-v5", episodes=EPISODES)
print(f"return: {episodes.returns.mean():.0f} over {EPISODES} episodes")

# %%
OUTPUT.parent.mkdir(parents=True, exist_ok=True)
plt.figure(figsize=(6, 3.2))
plt.plot(rewards)
plt.xlabel("iteration")
plt.ylabel("mean reward of a step")
plt.title("BPTT on InvertedDoublePendulum-v5")
plt.tight_layout()
plt.savefig(OUTPUT, dpi=100)

# %% [markdown]
# ## What it prints
#
# ```text
# iteration 25: mean reward 8.583
# iteration 50: mean reward 9.190
# iteration 75: mean reward 9.238
# iteration 100: mean reward 9.360
# iteration 125: mean reward 9.354
# iteration 150: mean reward 9.359
# return: 9360 over 10 episodes
# ```
#
# ![Mean reward against iterations](../../docs/tutorials/pendulum_bptt.png)
