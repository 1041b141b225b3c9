"""Options of algorithms and tasks: each is declared once, with its default, its valid range and its help.

    class MyAlgorithm(ModelFree):
        horizon: int = option("H, steps of each copy per iteration.", ">= 1", default=256)
        gamma = 0.95  # declared in a base class: another default, the same range and help

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

from diffsim.checks import Rule, check_choice, check_value, did_you_mean

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


def declare(cls: Any) -> None:
    """Sets `options`, the signature and the docstring of a class by its declarations and those of its bases.

    `options` has those of its bases first. A class with its own constructor shows that one's arguments, and if it
    passes on **kwargs, the options. Declarations are removed from the class, so that an instance's own values are
    found.
    """
    cls.options = _declared(cls)
    cls.__signature__ = _signature(cls)
    if "__init__" not in vars(cls):
        cls.__doc__ = _described(cls)


def _declared(cls: Any) -> dict[str, Option]:
    """All options of a class; removes its declarations."""
    options: dict[str, Option] = {}
    for base in reversed(cls.__mro__[1:]):
        _update(options, vars(base).get("_declarations", {}))
    declarations: dict[str, Option | None] = {}
    for name, value in list(vars(cls).items()):
        if value is _BUFFER:
            delattr(cls, name)
            declarations[name] = None
        elif name in options and not isinstance(value, Option) and not hasattr(value, "__get__"):
            value = Option(value, None, None)
        if not isinstance(value, Option):
            continue
        delattr(cls, name)
        inherited = options.get(name)
        if inherited is not None:
            value = replace(value, rule=value.rule or inherited.rule, help=value.help or inherited.help)
        if value.help is None:
            raise TypeError(f"option {name} of {cls.__name__} must have help")
        declarations[name] = value
    cls._declarations = declarations
    return _update(options, declarations)


def _update(options: dict[str, Option], declarations: Mapping[str, Option | None]) -> dict[str, Option]:
    """Adds the declarations of a class to the options of its bases; None removes an option."""
    for name, option in declarations.items():
        if option is None:
            options.pop(name, None)
        else:
            options[name] = option
    return options


def _signature(cls: Any) -> inspect.Signature:
    """Signature of the constructor that the options make, or of the class's own, with the options for its **kwargs.

    Objects are positional, options are keyword-only.
    """
    named = [_parameter(cls, name) for name in cls.options]
    if "__init__" in vars(cls):
        own = list(inspect.signature(cls.__init__, eval_str=True).parameters.values())[1:]
        kept = [p for p in own if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
        names = {p.name for p in kept}
        named = [*kept, *(p for p in named if p.name not in names)] if len(kept) < len(own) else kept
    return inspect.Signature(sorted(named, key=_order))


def _order(parameter: inspect.Parameter) -> tuple[int, bool]:
    """Sorts arguments: positional before keyword-only, required before optional."""
    return parameter.kind, parameter.default is not REQUIRED


def _parameter(cls: Any, name: str) -> inspect.Parameter:
    """The argument of a constructor that is an option."""
    option = cls.options[name]
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD if option.positional else inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, kind, default=option.default, annotation=_annotation(cls, name))


def _annotation(cls: type, name: str) -> Any:
    """The declared type of an option, evaluated where the first class that declares it was written."""
    for owner in cls.__mro__:
        text = inspect.get_annotations(owner).get(name)
        if text is not None:
            if not isinstance(text, str):
                return text
            return eval(text, {**vars(typing), **vars(sys.modules[owner.__module__])})
    return Any


def bound(cls: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Values of all options of a class, defaults included, for a call of its constructor.

    Raises: TypeError that names an argument that is missing or unknown, and the one that may have been meant;
    ValueError, as `name must be rule, got value`.
    """
    for name in kwargs:
        if name not in cls.options:
            if RENAMED.get(name) in cls.options:
                raise TypeError(f"{cls.__name__}'s option {name} is now {RENAMED[name]}")
            raise TypeError(f"{cls.__name__} has no option {name}{did_you_mean(name, cls.options)}")
    parameters = sorted((_parameter(cls, name) for name in cls.options), key=_order)
    try:
        call = inspect.Signature(parameters).bind(*args, **kwargs)
    except TypeError as error:
        raise TypeError(f"{cls.__name__}: {error}") from None
    call.apply_defaults()
    for name, value in call.arguments.items():
        _check(cls, name, value)
    return call.arguments


def _check(cls: Any, name: str, value: Any) -> None:
    """Raises ValueError if a value does not obey the rule of its option."""
    kind = _annotation(cls, name)
    if not cls.options[name].given and (value is not None or type(None) not in typing.get_args(kind)):
        check_value(name, value, cls.options[name].rule)
        if typing.get_origin(kind) is Literal:
            check_choice(name, value, typing.get_args(kind))


def _described(cls: Any) -> str:
    """The docstring of a class, with an `Args` section made from its options."""
    head, mark, tail = inspect.cleandoc(cls.__doc__ or cls.__name__).partition("\nSource:")
    rows = []
    for name, option in sorted(cls.options.items(), key=lambda item: not item[1].given):
        rule = f" Must be {option.rule}." if isinstance(option.rule, str) else ""
        text = repr(option.default)
        default = "" if option.default is REQUIRED or len(text) > 80 else f" Default: {text}."
        row = f"{name}: {option.help}{rule}{default}"
        rows += textwrap.wrap(row, 114, initial_indent="    ", subsequent_indent="        ")
    arguments = "\n".join(["Args:", *rows])
    return f"{head.rstrip()}\n\n{arguments}\n{mark}{tail}"
