"""Bias of the pathwise gradient because the force of a constraint jumps when it begins to act.

MuJoCo damps a joint at its limit, and bodies in contact, from depth 0 on: there the force is already the approaching
speed times the damping, scaled by the impedance d0 of `solimp`. So motions that end just before and just after the
onset differ by a jump. The jump changes the mean of the return, but no derivative contains it. With d0 = 0 the force
begins at 0, without a jump.

This program compares the gradient of a random Gaussian policy through the dynamics with its likelihood-ratio gradient,
which is unbiased: in the unchanged task, and with d0 = 0 in contacts, in joint limits, or in both. A bias below its
floor, three times the effect of noise alone, is reported as 0.

    python -m benchmarks.onset --task Hopper-v5 --horizons 4,8
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import mujoco
import torch

import diffsim
from benchmarks.command import RESULTS, arguments_of, make_parser, page, paragraphs, parse, positive, table
from diffsim.tasks import TASKS
from diffsim.trainers.gradients.experiment import Experiment
from diffsim.trainers.gradients.options import GradientOptions, build
from diffsim.trainers.gradients.pathwise import pathwise_gradients
from diffsim.trainers.gradients.statistics import GradientComparison, GradientMoments, compare_gradients

VARIANTS = {"none: the task as it is": (False, False), "contacts": (True, False)}
VARIANTS |= {"limits": (False, True), "both": (True, True)}
"""Whether the force begins at 0, for contacts and for joint limits."""


def soften(task: str, contacts: bool, limits: bool, path: Path) -> None:
    """Writes the MJCF of a task to `path`, with forces that begin at 0."""
    mujoco.mj_saveLastXML(str(path), diffsim.make(task, num_envs=1).mj_model)
    spec = mujoco.MjSpec.from_file(str(path))
    for geom in spec.geoms if contacts else ():
        geom.solimp[0] = 0.0
    for joint in spec.joints if limits else ():
        joint.solimp_limit[0] = 0.0
    spec.compile()
    path.write_text(spec.to_xml())


def measure(task: str, variant: str, horizons: list[int], samples: int, num_envs: int) -> list[GradientComparison]:
    """The pathwise gradient beside the reference, for each horizon."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "soft.xml"
        soften(task, *VARIANTS[variant], path)
        mdp, policies = build(GradientOptions(task, num_envs=num_envs, task_kwargs={"xml_file": str(path)}))
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(1)
    experiment = Experiment(mdp, policies[0], 0.99, 8, 0.1, samples, samples, generator)
    found = []
    for horizon in horizons:
        value, pathwise, reference = experiment.fit_value(horizon), GradientMoments(), GradientMoments()
        for batch in range(samples // num_envs):
            scenarios = experiment.draw(horizon)
            trajectory = experiment.roll_out(scenarios)
            reference.add(experiment.likelihood_ratio(trajectory, scenarios, "GPOMDP, value", value))
            if batch % 8 == 0:  # it has much less noise
                pathwise.add(pathwise_gradients(mdp, experiment.policy, experiment.draw(horizon), 0.99))
        found.append(compare_gradients(pathwise, reference))
    return found


def main(arguments: list[str] | None = None) -> None:
    """Measures every variant, and writes the page."""
    parser = make_parser("onset", __doc__)
    parser.set_defaults(output=RESULTS / "laboratory")
    parser.add_argument("--task", choices=list(TASKS), default="Hopper-v5", metavar="ID")
    parser.add_argument("--horizons", default="4,8", help="numbers, separated by commas")
    parser.add_argument("--samples", type=positive(int), default=32_768, help="of the reference gradient")
    parser.add_argument("--num_envs", type=positive(int), default=512)
    options = parse(parser, arguments)
    horizons, lines = [int(word) for word in options.horizons.split(",")], []
    for variant in VARIANTS:
        found = measure(options.task, variant, horizons, options.samples, options.num_envs)
        for horizon, one in zip(horizons, found, strict=True):
            lines.append([variant, horizon, f"{one.bias:.3f}", f"{one.bias_floor:.3f}", f"{one.cosine:.4f}"])
            print(*lines[-1], sep=" | ", flush=True)
    text = page(
        f"Effect of the onset of forces on the pathwise gradient: {options.task}",
        f"onset {arguments_of(options, 'task', 'horizons', 'samples', 'num_envs')}",
        *paragraphs(__doc__)[1:3],
        table("forces that begin at 0 | horizon: | relative bias: | floor: | cosine:", lines),
    )
    (options.output / f"onset-{options.task}.md").write_text(text)


if __name__ == "__main__":
    main()
