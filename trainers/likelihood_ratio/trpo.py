"""Trust region policy optimization."""

from __future__ import annotations

from torch import Tensor

from diffsim.trainers.experience.on_policy_batch import OnPolicyBatch
from diffsim.trainers.likelihood_ratio.natural_gradient import NaturalPolicyGradient
from diffsim.trainers.likelihood_ratio.on_policy import ATARI_RUN
from diffsim.trainers.maths.natural_step import line_search, trust_region_step
from diffsim.trainers.metrics import Metric
from diffsim.trainers.options import option


class TRPO(NaturalPolicyGradient):
    """Maximises a surrogate within a trust region, and checks both after the step.

        maximise mean_t p(u_t | o_t) / p_old(u_t | o_t) A_t    subject to    mean_t KL(p_old || p) <= max_kl

    The step is sqrt(2 max_kl / x' F x) x with F x = g by conjugate gradient. A line search shortens it until the
    surrogate rises and the constraint holds.

    The defaults are those of sb3-contrib's TRPO, with 8 copies of 256 steps instead of one of 2,048. sb3-contrib
    averages the KL divergence over the components of an action, where this class sums: to get its steps, multiply
    max_kl and damping by the number of components.

    For images the network is that of the source's section 8.2: two layers of 16 channels with stride 2, and 20 hidden
    units. The source gives neither the size of the frames nor that of the kernels, but 33,500 parameters. Four frames
    of a quarter of the screen's height and width, 40 x 52, and kernels of 4 give 33,332, and 21 per action: 33,458 in
    Pong. The source takes 100,000 steps per iteration; here, 8 copies of 1,024.

    Source: Schulman et al. (2015), "Trust Region Policy Optimization".
    """

    image_defaults = {
        "convolutions": ((16, 4, 2), (16, 4, 2)),
        "hidden_sizes": (20,),
        "value_hidden_sizes": (20,),
        "normalize_reward": False,
    }
    atari_defaults = {**ATARI_RUN, "task_kwargs": {"screen_size": [40, 52]}, "horizon": 1024}

    max_kl: float = option("largest mean KL divergence between the old and the new policy, in nats.", default=0.01)
    backtracks: int = option("step lengths that the line search tries.", ">= 1", default=10)
    shrink: float = option("ratio of successive step lengths of the line search.", "in (0, 1)", default=0.8)

    def update_policy(self, batch: OnPolicyBatch, direction: Tensor, fisher_direction: Tensor) -> dict[str, Metric]:
        """Takes the longest step of the line search that raises the surrogate and satisfies the constraint."""
        step = trust_region_step(direction, fisher_direction, self.max_kl)
        taken, gain, kl = line_search(
            self.actor, batch, step, max_kl=self.max_kl, backtracks=self.backtracks, shrink=self.shrink
        )
        return {"kl": kl, "gain": gain, "step_taken": taken}
