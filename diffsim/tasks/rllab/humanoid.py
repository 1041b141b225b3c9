"""RllabHumanoid-v0: walk forward on two legs, with feet and elbows."""

from __future__ import annotations

from pathlib import Path

from diffsim.tasks.rllab.simple_humanoid import RllabSimpleHumanoid


class RllabHumanoid(RllabSimpleHumanoid):
    """Walk forward along x on two legs, with 21 motors of 40 to 240 N m; the "full humanoid" of the paper.

    Reward, ends and extras are those of `RllabSimpleHumanoid`, and so is the observation, of 142 numbers. Links also
    touch each other. An action lasts 0.008 s.

    Uniform random actions reach 13.2 +- 0.6 in 400 episodes, and 13.2 in the paper.

    Source: rllab, envs/mujoco/humanoid_env.py and its model, whose dimensions are those here, without its two tendons,
    which nothing uses. MuJoCo now adds the margins of two geoms, which are therefore half of rllab's, and has another
    constraint solver than version 1.3, where the model asked for 50 sweeps of projected Gauss-Seidel; constraints are
    solved to convergence here.
    """

    position_indices = tuple(range(28))

    xml_file = Path(__file__).with_name("humanoid.xml")
    frame_skip = 4
