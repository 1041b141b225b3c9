"""Options are declared once: constructor, signature, docstring, checks and command line come from the declarations."""

import inspect
import sys
import types
from importlib.metadata import EntryPoint

import pytest
import torch
from lightning.pytorch import Trainer

from diffsim.trainers import SHAC, LightningTraining, MDPAlgorithm, buffer, option
from diffsim.trainers.errors import OptionError
from diffsim.trainers.run import registry
from diffsim.trainers.run.arguments import parse_fit
from tests.trainers.linear import LinearPolicy, LinearQuadratic


class Descent(MDPAlgorithm):
    """Counts its iterations.

    Source: none.
    """

    rate: float = option("step size.", "> 0", default=0.5)
    shares: float = option("a part.", "in [0, 1)", default=0.0)
    limit: int | None = option("a bound; None for none.", ">= 2", default=None)
    total: torch.Tensor = buffer()

    def setup(self):
        self.register_buffer("total", torch.zeros(()))

    def iterate(self):
        self.total += self.rate
        self.env_steps += 1
        return {"total": self.total}


class Faster(Descent):
    """Counts faster."""

    rate: float = option(default=2.0)
    more: str = option("one more option.", default="x")


class OwnConstructor(Descent):
    """Adds an argument by a constructor of its own.

    Args:
        boost: multiplies the rate.
    """

    def __init__(self, mdp, policy, *, boost: float = 3.0, **options):
        super().__init__(mdp, policy, **options)
        self.rate *= boost


def make(cls, **options):
    return cls(LinearQuadratic(2), LinearPolicy(), **options)


def make_seeded(cls, **options):
    torch.manual_seed(0)  # of the networks' weights
    return make(cls, **options)


def test_declarations_make_the_constructor():
    names = list(inspect.signature(Descent).parameters)
    assert names == ["mdp", "policy", "seed", "evaluation", "rate", "shares", "limit"]
    kinds = [p.kind.name for p in inspect.signature(Descent).parameters.values()]
    assert kinds == ["POSITIONAL_OR_KEYWORD"] * 2 + ["KEYWORD_ONLY"] * 5
    parameter = inspect.signature(Descent).parameters["limit"]
    assert parameter.annotation == int | None and parameter.default is None
    algorithm = make(Descent, rate=0.25)
    assert (algorithm.rate, algorithm.shares, algorithm.limit) == (0.25, 0.0, None)
    assert [algorithm.train_iteration()["total"] for _ in range(2)] == [0.25, 0.5]
    assert algorithm.iteration == 2 and algorithm.env_steps == 2


def test_a_subclass_changes_a_default_and_inherits_range_and_help():
    assert make(Faster).rate == 2.0 and make(Descent).rate == 0.5
    assert Faster.options["rate"].help == "step size." and list(inspect.signature(Faster).parameters)[-1] == "more"
    with pytest.raises(ValueError, match="rate must be > 0, got -1"):
        make(Faster, rate=-1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rate": 0}, "rate must be > 0, got 0"),
        ({"shares": 1.0}, r"shares must be in \[0, 1\), got 1.0"),
        ({"limit": 1}, "limit must be >= 2, got 1"),
        ({"seed": -1}, "seed must be >= 0, got -1"),
    ],
)
def test_values_are_checked_before_anything_is_made(options, message):
    with pytest.raises(ValueError, match=message):
        make(Descent, **options)


def test_unknown_and_missing_arguments_are_named():
    with pytest.raises(TypeError, match="Descent has no option rat; did you mean rate?"):
        make(Descent, rat=1.0)
    with pytest.raises(TypeError, match="Descent: missing a required argument: 'policy'"):
        Descent(LinearQuadratic(2))


def test_an_option_needs_help():
    with pytest.raises(TypeError, match="option x of Silent must have help"):
        type("Silent", (Descent,), {"x": option(default=1)})


def test_the_docstring_lists_the_options_before_the_source():
    text = inspect.getdoc(Faster)
    assert "rate: step size. Must be > 0. Default: 2.0." in text and "more: one more option. Default: 'x'." in text
    text = inspect.getdoc(Descent)
    assert text.index("Args:") < text.index("rate:") < text.index("Source: none.")


def test_a_class_may_write_its_own_constructor():
    assert list(inspect.signature(OwnConstructor).parameters)[:2] == ["mdp", "policy"]
    assert {"boost", "rate", "seed"} <= set(inspect.signature(OwnConstructor).parameters)
    assert make(OwnConstructor, boost=4.0, rate=0.5).rate == 2.0


def test_the_command_line_takes_options_of_both_kinds_of_constructor(capsys):
    words = ["--task=Reacher-v5", "--algorithm=tests.trainers.test_options:OwnConstructor"]
    parsed = parse_fit([*words, "--boost=2", "--rate=0.125"])
    assert (parsed.boost, parsed.rate, parsed.shares) == (2.0, 0.125, 0.0)
    with pytest.raises(SystemExit):
        parse_fit([*words, "--help"])
    printed = " ".join(capsys.readouterr().out.split())
    assert "multiplies the rate." in printed and "step size. Must be > 0. (type: float, default: 0.5)" in printed


def test_installed_packages_offer_names(monkeypatch):
    module = types.ModuleType("somebodys_package")
    module.Theirs = Faster
    monkeypatch.setitem(sys.modules, "somebodys_package", module)
    entry = EntryPoint("Theirs", "somebodys_package:Theirs", "diffsim.algorithms")
    monkeypatch.setattr(registry, "entry_points", lambda group: [entry] if group == "diffsim.algorithms" else [])
    assert registry.choose("algorithm", "Theirs", registry.ALGORITHMS) is Faster
    with pytest.raises(OptionError, match="or my_module:MyClass, got 'Their'; did you mean Theirs?"):
        registry.choose("algorithm", "Their", registry.ALGORITHMS)


def test_an_error_inside_a_persons_module_is_passed_on(tmp_path, monkeypatch):
    (tmp_path / "broken_module.py").write_text("import a_library_that_is_missing")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="a_library_that_is_missing"):
        registry.choose("algorithm", "broken_module:Mine", registry.ALGORITHMS)


@pytest.mark.filterwarnings("ignore::UserWarning")  # Lightning's advice about loggers and checkpoints
def test_lightnings_trainer_runs_an_algorithm(tmp_path):
    algorithm, again = (make_seeded(SHAC, horizon=2) for _ in range(2))
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = Trainer(max_epochs=3, default_root_dir=tmp_path, enable_model_summary=False, accelerator="cpu", **quiet)
    trainer.fit(LightningTraining(algorithm))
    assert algorithm.iteration == 3 and algorithm.env_steps == 3 * 2 * 2
    for _ in range(3):
        again.train_iteration()
    for name, value in algorithm.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name
