"""Parsers of the commands' options: what they accept, and errors that name option, rule and value."""

from __future__ import annotations

import argparse
import inspect
import re
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any

import docstring_parser
from jsonargparse import ActionConfigFile, ArgumentParser, Namespace  # pyright: ignore[reportPrivateImportUsage]

from diffsim.checks import did_you_mean
from diffsim.trainers.errors import OptionError
from diffsim.trainers.options import RENAMED, Option

GIVEN: set[str | int] = {
    *("mdp", "env", "policy", "seed", "evaluation", "observation_space", "action_space", "critic", "replay")
}
"""Arguments of constructors that are objects, made from the options."""

BOOLEANS = ("true", "false", "yes", "no", "on", "off")


def make_parser(command: str, description: str, *, config: bool = False) -> ArgumentParser:
    """A parser for a command, for `parse`; with `config` it also reads YAML files."""
    parser = ArgumentParser(prog=f"diffsim {command}", description=description, exit_on_error=False, allow_abbrev=False)
    if config:
        parser.add_argument("--config", action=ActionConfigFile, help="YAML file, or a name of `diffsim configs`.")
    return parser


def add_options(parser: ArgumentParser, cls: type, skip: set[str | int] = GIVEN) -> None:
    """Adds the options of a constructor: those that an algorithm declares, or the arguments of any other class.

    Args:
        parser: gets the options.
        cls: the class.
        skip: arguments that are no options.
    """
    declared: dict[str, Option] = getattr(cls, "options", {})
    if not declared:
        parser.add_class_arguments(cls, skip=skip)
        return
    described = {p.arg_name: p.description for p in docstring_parser.parse(cls.__doc__ or "").params}
    first = (cls.__doc__ or "").strip().partition("\n")[0]
    group = parser.add_argument_group(f"{cls.__name__}: {first.rstrip('.')}")
    for name, parameter in inspect.signature(cls).parameters.items():
        if name in skip or (name in declared and declared[name].given):
            continue
        help = described.get(name)
        if name in declared:
            rule = declared[name].rule
            help = f"{declared[name].help}{f' Must be {rule}.' if isinstance(rule, str) else ''}"
        kind = Any if parameter.annotation is parameter.empty else parameter.annotation
        required = parameter.default is parameter.empty
        given = {"required": True} if required else {"default": parameter.default}
        group.add_argument(f"--{name}", type=kind, help=help, **given)


def parse(parser: ArgumentParser, argv: Sequence[str]) -> Namespace:
    """Parses `argv`. `--video` alone stands for `--video true`, and `--env_steps 1e5` for `--env_steps 100000`.

    Raises: OptionError that says what is wrong and what would be valid.
    """
    try:
        return parser.parse_args(completed(parser, argv))
    except argparse.ArgumentError as error:
        raise OptionError(_explain(str(error), parser)) from None


def completed(parser: ArgumentParser, argv: Sequence[str]) -> list[str]:
    """`argv` with a value for each option of type bool, and whole numbers such as 1e5 written out."""
    kinds = {word: alternatives(kind_of(action)) for action in parser._actions for word in action.option_strings}
    positional = any(not action.option_strings for action in parser._actions)
    words: list[str] = []
    for i, word in enumerate(argv):
        name, equals, value = word.partition("=")
        following = argv[i + 1] if i + 1 < len(argv) else "--"
        if bool in kinds.get(word, ()) and (
            following.startswith("--") or (positional and following.lower() not in BOOLEANS)
        ):
            words.append(f"{word}=true")
        elif equals and int in kinds.get(name, ()):
            words.append(f"{name}={whole_number(value)}")
        elif i and int in kinds.get(argv[i - 1], ()):
            words.append(whole_number(word))
        else:
            words.append(word)
    return words


def whole_number(text: str) -> str:
    """A number such as 1e5 or 2.5e6 as digits, if it is whole; other text as it is."""
    if not re.fullmatch(r"\d+(\.\d*)?[eE]\+?\d{1,2}", text) or not float(text).is_integer():
        return text
    return str(int(float(text)))


def check_kinds(option: str, given: Mapping[str, Any], cls: type) -> None:
    """Checks the types of options of `cls` that are given in another option, such as `model_kwargs`.

    Args:
        option: name of the option that holds them, for errors.
        given: values by name, all of them keyword arguments of `cls`.
        cls: what they are options of.

    Raises: ValueError that names the option, its type and the value.
    """
    objects = {p.name for p in inspect.signature(cls).parameters.values() if p.kind is not p.KEYWORD_ONLY}
    parser = ArgumentParser(exit_on_error=False)
    add_options(parser, cls, skip=GIVEN | objects)
    known = {name: value for name, value in given.items() if f"--{name}" in parser._option_string_actions}
    try:
        parser.parse_object(known)
    except argparse.ArgumentError as error:
        raise ValueError(f"in {option}, {_explain(str(error), parser)}") from None


def kind_of(action: argparse.Action) -> Any:
    """The type of an option's value."""
    return getattr(action, "_typehint", None) or action.type


def alternatives(kind: Any) -> tuple[Any, ...]:
    """The members of a union, or the type alone."""
    union = typing.get_origin(kind) in (typing.Union, types.UnionType)
    return typing.get_args(kind) if union else (kind,)


def described_kind(kind: Any) -> str:
    """A type in words: `list of int`, `int or null`."""
    if len(members := alternatives(kind)) > 1:
        return " or ".join(dict.fromkeys(map(described_kind, members)))
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Literal:
        return f"one of {', '.join(map(str, inner))}"
    if kind is type(None):
        return "null"
    if origin is None:
        return getattr(kind, "__name__", str(kind))
    if issubclass(origin, Mapping):
        return "mapping"
    if issubclass(origin, Sequence):
        items = [member for member in inner if member is not ...]
        count = f" of {len(items)}" if origin is tuple and ... not in inner else ""
        return f"list{count} of {described_kind(items[0])}" if items and not count else f"list{count} numbers"
    return getattr(origin, "__name__", str(kind))


def _explain(message: str, parser: ArgumentParser) -> str:
    """Rewrites an error of the parser: option, rule, value, and what would be valid."""
    message = " ".join(message.split())
    if match := re.match(r"unrecognized arguments: (\S+)|Option '(.+?)' is not accepted", message):
        wrong = (match[1].split("=")[0] if match[1] else match[2]).removeprefix("--")
        valid = list(vars(parser.get_defaults()))
        if wrong in RENAMED:
            return f"option --{wrong} is now --{RENAMED[wrong]}"
        hint = did_you_mean(wrong, valid).replace("did you mean ", "did you mean --")
        return f"unknown option --{wrong}{hint or '.'} Valid options: {', '.join(f'--{name}' for name in valid)}"
    if match := re.match(r"the following arguments are required: (.+)", message):
        return f"option --{match[1]} is required"
    if match := re.match(r"argument (--\w+): expected one argument", message):
        return f"option {match[1]} must be followed by a value, got none"
    if match := re.match(r'Parser key "(.+?)":.* [vV]alue: (.*)', message):
        name = match[1].split(".")[0]
        action = next((a for a in parser._actions if f"--{name}" in a.option_strings or a.dest == name), None)
        kind = None if action is None else kind_of(action)
        if kind is not None:
            words = described_kind(kind)
            words = words if words.startswith("one of ") else f"of type {words}"
            return f"option --{name} must be {words}, got {match[2]!r}"
    return message
