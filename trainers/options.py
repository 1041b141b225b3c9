"""Options of algorithms: each is declared once, with its default, its valid range and its help.

    class MyAlgorithm(ModelFree):
        horizon: int = option("H, steps of each copy per iteration.", ">= 1", default=256)
        gamma: float = option(default=0.95)  # declared in a base class: another default, the same range and help

From the declarations come the constructor, its signature, its docstring's `Args`, the checks, and the options of the
command line. Subclasses inherit options as they inherit methods.
"""

from __future__ import annotations

import inspect
import sys
import textwrap
import typing
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from diffsim.checks import Rule, check_choice, check_value, check_values, did_you_mean
from diffsim.trainers.errors import OptionError

REQUIRED: Any = inspect.Parameter.empty
RENAMED = {"average": "actor_ema", "end_beyond": "termination_bounds", "member": "propagation"}
"""Options that had another name."""


@dataclass(frozen=True)
class Option:
    """One argument of a constructor.

    Attributes:
        default: value if none is given; REQUIRED if there is none.
        rule: what is valid; None for everything.
        help: one sentence or more, shown by `--help` and in the docstring.
        given: an object that the command line makes from other options, such as the environment: no option there.
        positional: may be given by its position.
    """

    default: Any
    rule: Rule | None
    help: str | None
    given: bool = False
    positional: bool = False


def option(help: str | None = None, rule: Rule | None = None, *, default: Any = REQUIRED) -> Any:
    """Declares an option of the command line. Without `help` and `rule`, it changes an inherited option's default."""
    return Option(default, rule, help)


def given(help: str | None = None, *, default: Any = REQUIRED, kw_only: bool = False) -> Any:
    """Declares a constructor's argument that is an object: an MDP, an environment, a policy, a critic.

    Args:
        help: one sentence.
        default: REQUIRED if there is none.
        kw_only: it cannot be given by its position.
    """
    return Option(default, None, help, given=True, positional=not kw_only)


def buffer(*, init: Literal[False] = False) -> Any:
    """Declares the type of an attribute that `setup` makes, such as a buffer; no argument of the constructor.

    An inherited option of that name is removed.
    """
    return _BUFFER


_BUFFER = object()


def declared(cls: type) -> dict[str, Option]:
    """The options of a class by name: those of its bases first, given objects before others.

    Removes declarations from the class, so that an instance's own values are found.
    """
    options: dict[str, Option] = dict(getattr(cls, "options", {}))
    for name, value in list(vars(cls).items()):
        if value is _BUFFER:
            delattr(cls, name)
            options.pop(name, None)
        if not isinstance(value, Option):
            continue
        delattr(cls, name)
        inherited = options.get(name)
        if inherited is not None:
            value = replace(value, rule=value.rule or inherited.rule, help=value.help or inherited.help)
        if value.help is None:
            raise TypeError(f"option {name} of {cls.__name__} must have help")
        options[name] = value
    return options


def signature(cls: type, options: Mapping[str, Option]) -> inspect.Signature:
    """Signature of a constructor with these options: objects are positional, all else is keyword-only."""
    positional, keyword = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY
    parameters = [
        inspect.Parameter(
            name,
            positional if option.positional else keyword,
            default=option.default,
            annotation=annotation(cls, name),
        )
        for name, option in options.items()
    ]
    return inspect.Signature(sorted(parameters, key=lambda p: (p.kind, p.default is not REQUIRED)))


def annotation(cls: type, name: str) -> Any:
    """The declared type of an option, evaluated where the first class that declares it was written."""
    for owner in cls.__mro__:
        text = inspect.get_annotations(owner).get(name)
        if text is not None:
            if not isinstance(text, str):
                return text
            return eval(text, {**vars(typing), **vars(sys.modules[owner.__module__])})
    return Any


def check(cls: type, options: Mapping[str, Option], values: Mapping[str, Any]) -> None:
    """Checks values against their options' rules.

    Raises: ValueError, as `name must be rule, got value`.
    """
    for name, value in values.items():
        kind = annotation(cls, name)
        if options[name].given or (value is None and type(None) in typing.get_args(kind)):
            continue
        check_value(name, value, options[name].rule)
        if typing.get_origin(kind) is Literal:
            check_choice(name, value, typing.get_args(kind))


def check_fields(options: Any, rules: Mapping[str, Rule]) -> None:
    """Checks fields of a dataclass of options by their rules; None is always valid.

    Raises: OptionError, as `name must be rule, got value`.
    """
    for name, rule in rules.items():
        try:
            check_values(rule, **{name: getattr(options, name)})
        except ValueError as error:
            raise OptionError(str(error)) from None


def bind(cls: type, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Values of a constructor's arguments, defaults included.

    Raises: TypeError that names an argument that is missing or unknown, and the one that may have been meant.
    """
    options = cls.options  # pyright: ignore[reportAttributeAccessIssue]
    unknown = [name for name in kwargs if name not in options]
    for name in unknown:
        if RENAMED.get(name) in options:
            raise TypeError(f"{cls.__name__}'s option {name} is now {RENAMED[name]}")
        raise TypeError(f"{cls.__name__} has no option {name}{did_you_mean(name, options)}")
    try:
        bound = signature(cls, options).bind(*args, **kwargs)
    except TypeError as error:
        raise TypeError(f"{cls.__name__}: {error}") from None
    bound.apply_defaults()
    return bound.arguments


def described(cls: type, options: Mapping[str, Option]) -> str:
    """The docstring of a class, with an `Args` section made from its options."""
    text = inspect.cleandoc(cls.__doc__ or cls.__name__)
    rows = []
    for name, option in sorted(options.items(), key=lambda item: not item[1].given):
        rule = f" Must be {option.rule}." if isinstance(option.rule, str) else ""
        default = "" if option.default is REQUIRED else f" Default: {option.default!r}."
        row = f"{name}: {option.help}{rule}{default}"
        rows += textwrap.wrap(row, 114, initial_indent="    ", subsequent_indent="        ")
    arguments = "\n".join(["Args:", *rows])
    head, mark, tail = text.partition("\nSource:")
    return f"{head.rstrip()}\n\n{arguments}\n{mark}{tail}"
