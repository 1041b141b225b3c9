"""Which options of algorithms are read while they train."""

from collections import defaultdict

from diffsim.trainers.algorithm import Algorithm

OTHER_MODES = {"Pegasus": {"perturbation"}, "SCG": {"action_step"}}
"""Options that another mode reads than those of the configurations."""


def watch(monkeypatch) -> dict[str, set[str]]:
    """From now on, fills the names of options that are read, by the name of the algorithm's class."""
    reads = defaultdict(set)

    def watched(self, name):
        cls = type(self)
        if name in cls.options:
            reads[cls.__name__].add(name)
        return object.__getattribute__(self, name)

    monkeypatch.setattr(Algorithm, "__getattribute__", watched, raising=False)
    return reads


def unread(cls, reads) -> set[str]:
    """Options of the command line that were not read."""
    return {name for name, option in cls.options.items() if not option.given} - reads[cls.__name__]


def conditional(options) -> set[str]:
    """Options that a configuration does not need: another part of it reads them, or they belong to another mode."""
    names = set(OTHER_MODES.get(options["algorithm"], ()))
    if options.get("goal_strategy"):
        names |= {"gamma", "num_steps", "replay_size"}  # of the hindsight replay, which is made before the algorithm
    if options.get("baseline", "value") != "value":
        names |= {"value_minibatches", "value_lam", "value_proximal", "value_epochs"}
    return names
