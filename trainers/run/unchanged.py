"""A run is resumed with the options that it began with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from diffsim.trainers.errors import OptionError
from diffsim.trainers.run.run_folder import with_present_names

EDITABLE = frozenset(
    {"iterations", "env_steps", "seconds", "device", "threads", "num_workers", "run", "video", "logger", "env_timeout"}
    | {"evaluate_every", "evaluate_every_steps", "evaluate_episodes", "evaluate_stochastic", "final_episodes"}
)
"""Options of a run that its checkpoint does not depend on."""


def refuse_changes(
    options: Mapping[str, Any], checkpoint: Mapping[str, Any], editable: frozenset[str] = EDITABLE
) -> None:
    """Compares the options of a run that is resumed with those that its checkpoint was made with.

    Args:
        options: of the run to resume, as in its config.yaml.
        checkpoint: what `read_checkpoint` returned. One of an older version has no options: nothing is compared.
        editable: names of options that may have other values.

    Raises: OptionError that names an option which has another value.
    """
    began = with_present_names(yaml.safe_load(checkpoint["diffsim"].get("options", "{}")))
    present = yaml.safe_load(yaml.safe_dump(dict(options)))
    for name, value in began.items():
        if name in present and name not in editable and present[name] != value:
            raise OptionError(
                f"{name} must be {value!r} in the config.yaml of a run that is resumed, as when it began, "
                f"got {present[name]!r}"
            )
