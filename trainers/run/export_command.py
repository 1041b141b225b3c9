"""`diffsim export`: writes the policy of a run to a file, for use without diffsim."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from rich.console import Console

from diffsim.trainers.errors import UsageError
from diffsim.trainers.run.api import load_policy
from diffsim.trainers.run.export import SUFFIXES, export_policy
from diffsim.trainers.run.parsing import make_parser, parse
from diffsim.trainers.run.registry import ALGORITHMS, choose, takes_policy
from diffsim.trainers.run.run_folder import existing_folder
from diffsim.trainers.run.summary import print_table

DESCRIPTION = """Write a trained policy to a file, for use without diffsim. Normalisation of observations and \
squashing of actions are inside: the input is an observation of the environment, the output what env.step takes."""


def export_command(argv: Sequence[str], console: Console) -> Path:
    """Exports the policy of the run that `argv` names. Returns the file.

    Raises: OptionError if there is no such run; UsageError if its policy cannot be exported in this format, or an
        extra is missing.
    """
    parser = make_parser("export", DESCRIPTION)
    parser.add_argument("run", metavar="RUN", help="Folder of the run, or zoo:NAME.")
    help = "onnx (needs the export extra), torchscript, or npz for NumPy alone, of perceptrons and linear policies."
    parser.add_argument("--format", type=Literal["onnx", "torchscript", "npz"], default="onnx", help=help)
    parser.add_argument(
        "--output", type=str | None, default=None, help="File; policy.onnx, .pt or .npz in RUN if null."
    )
    given = parse(parser, argv)
    folder = existing_folder("RUN", given.run)
    algorithm = str(folder.read_config().get("algorithm"))
    if not takes_policy(choose("algorithm", algorithm, ALGORITHMS)):
        raise UsageError(f"RUN must be of an algorithm that trains a policy, got {algorithm}, which plans each action")
    path = Path(given.output) if given.output else folder.outputs / f"policy{SUFFIXES[given.format]}"
    folder.outputs.mkdir(parents=True, exist_ok=True)
    policy = load_policy(folder.path).policy
    export_policy(policy, path, given.format)
    rows = {
        "policy": type(policy).__name__,
        "input": f"obs {list(policy.obs_shape)}" + (f", memory [{policy.memory_size}]" if policy.recurrent else ""),
        "output": f"action of {policy.action_space}" + (", memory" if policy.recurrent else ""),
        "file": f"{path} ({path.stat().st_size:,} bytes)",
    }
    print_table(f"{folder.path.name}, {given.format}", rows, console)
    return path
