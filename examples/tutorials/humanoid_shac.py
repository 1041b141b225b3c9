# %% [markdown]
# # A humanoid by SHAC
#
# This script trains Gymnasium's Humanoid-v5 to run. SHAC differentiates short windows of the physics, and a
# learned value estimates the return after them. A million env steps take under an hour on one CPU core. The same
# run from the command line is `diffsim fit --config configs/shac_humanoid.yaml`.

# %%
from typing import Any

import diffsim
from diffsim.policies import GaussianMLP
from diffsim.trainers import SHAC, evaluate, fit

ENV_STEPS = 1_000_000
EPISODES = 10
FOLDER = "runs/tutorials/humanoid_shac"

# %% [markdown]
# ## The task
#
# Positions and velocities determine the state. The other parts of the official observation contain contact
# forces, which jump, and are left out by the environment's own options.

# %%
OBSERVATION: dict[str, Any] = {
    "include_cinert_in_observation": False,
    "include_cvel_in_observation": False,
    "include_qfrc_actuator_in_observation": False,
    "include_cfrc_ext_in_observation": False,
}
mdp = diffsim.make("Humanoid-v5", num_envs=16, **OBSERVATION)
policy = GaussianMLP(
    mdp.observation_space,
    mdp.action_space,
    hidden_sizes=(256, 128),
    activation="elu",
    layer_norm=True,
    std="fixed",
    initial_std=0.2,
).to(mdp.dtype)

# %% [markdown]
# ## The algorithm
#
# The options are those of `configs/shac_humanoid.yaml`. The [page of SHAC](../../docs/algorithms/shac.md)
# explains each. `actor_ema` is why the saved policy is steadier than the trained one: it is a running average.

# %%
algorithm = SHAC(
    mdp,
    policy,
    horizon=32,
    lam=0.97,
    actor_lam=0.97,
    actor_ema=0.98,
    truncation_rate=2.5e-3,
    actor_epochs=8,
    action_step=0.04,
    value_epochs=4,
    value_minibatches=12,
    value_windows=8,
    decay_env_steps=ENV_STEPS,
)
run = fit(algorithm, env_steps=ENV_STEPS, folder=FOLDER, evaluate_every=100)

# %%
episodes = evaluate(policy, "Humanoid-v5", episodes=EPISODES, task_kwargs=OBSERVATION)
print(f"return: {episodes.returns.mean():.0f} over {EPISODES} episodes; metrics and checkpoint are in {run.path}")

# %% [markdown]
# ## What to expect
#
# Of the two recorded seeds, one ends at 9,455. The other had 9,064 until 80,000 steps before the end; then it ran
# too fast and fell ([all seeds](../../benchmarks/results/pathwise/pathwise.md)). Policies of this task run at
# their limit.
#
# ![Returns of two seeds](../../benchmarks/results/pathwise/Humanoid-v5.png)
