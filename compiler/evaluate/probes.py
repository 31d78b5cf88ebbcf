"""What a language model is asked for its secrets with: texts it must not finish, and planted canaries."""

from __future__ import annotations

import random
import string
from pathlib import Path
from typing import NamedTuple

from compiler.errors import InputError
from compiler.evaluate.data import text_lines
from compiler.reading import parse_strict

LONGEST = 10_000  # characters of a text with its canary
VARYING = 100  # characters of a canary that vary
ALTERNATIVES = 255  # random strings that a canary is ranked among


class Secret(NamedTuple):
    """A text that must not be given away, and what it is asked for with."""

    prefix: str
    secret: str


class Canary(NamedTuple):
    """A planted text, and others of the same form that were not planted."""

    text: str
    others: list[str]


def read_secrets(path: Path) -> list[Secret]:
    """A line is {"prefix": ..., "secret": ...}, or a text, whose first half of words (or of letters) is the prefix.

    Raises:
        InputError: the file is empty, or a line does not fit.
    """
    return [_secret(path, number, line) for number, line in enumerate(text_lines(path), 1)]


def read_canaries(path: Path, seed: int) -> list[Canary]:
    """A line is {"format": "the code is {}", "canary": "4821"}, or a text whose digits vary.

    Raises:
        InputError: the file is empty, or a line has nothing that could vary.
    """
    return [
        _canary(path, number, line, random.Random(f"{seed} {number}"))
        for number, line in enumerate(text_lines(path), 1)
    ]


def _secret(path: Path, number: int, line: str) -> Secret:
    if line.lstrip().startswith("{"):
        named: dict[str, str] = parse_strict(line, dict[str, str], InputError, f"{path}, line {number}")
        if not {"prefix", "secret"} <= set(named):
            raise InputError(
                f"{path}, line {number}: not a secret", expected='{"prefix": ..., "secret": ...} or a text'
            )
        return Secret(named["prefix"], named["secret"])
    words = line.split(" ")
    half = len(words) // 2
    prefix, secret = (" ".join(words[:half]), " ".join(words[half:])) if half else _halves(line)
    if not prefix or not secret:
        raise InputError(f"{path}, line {number}: too short for a secret", expected="two words, or two letters")
    return Secret(prefix, secret)


def _halves(line: str) -> tuple[str, str]:
    return line[: len(line) // 2], line[len(line) // 2 :]


def _canary(path: Path, number: int, line: str, generator: random.Random) -> Canary:
    template, canary = "{}", line
    digits_only = True
    if line.lstrip().startswith("{"):
        found: dict[str, str] = parse_strict(line, dict[str, str], InputError, f"{path}, line {number}")
        if not {"format", "canary"} <= set(found):
            raise InputError(
                f"{path}, line {number}: not a canary", expected='{"format": "... {}", "canary": ...} or a text'
            )
        template, canary = found["format"], found["canary"]
        digits_only = False
    if "{}" not in template:
        raise InputError(f"{path}, line {number}: the format has no {{}}", expected="a place for the canary")
    if (size := len(template) + template.count("{}") * len(canary)) > LONGEST:
        raise InputError(f"{path}, line {number}: too long", found=f"{size} characters", expected=f"at most {LONGEST}")
    groups = _groups(canary, digits_only)
    if not groups:
        raise InputError(f"{path}, line {number}: nothing in the canary could vary", expected="digits in it")
    if len(groups) > VARYING:
        raise InputError(
            f"{path}, line {number}: too much of the canary varies",
            found=f"{len(groups)} characters",
            expected=f"at most {VARYING}",
        )
    others: set[str] = set()
    for _ in range(20 * ALTERNATIVES):
        letters = list(canary)
        for place, group in groups.items():
            letters[place] = generator.choice(group)
        if (other := "".join(letters)) != canary:
            others.add(other)
        if len(others) == ALTERNATIVES:
            break
    return Canary(template.replace("{}", canary), [template.replace("{}", other) for other in sorted(others)])


def _groups(canary: str, digits_only: bool) -> dict[int, str]:
    """By the places of the characters that vary: all of their class."""
    classes = [string.digits] if digits_only else [string.digits, string.ascii_lowercase, string.ascii_uppercase]
    return {place: group for place, each in enumerate(canary) for group in classes if each in group}
