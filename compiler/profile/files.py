"""Profiles as files: where they are, what is wrong with one, and its TOML as plain data."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from compiler.errors import ProfileError, did_you_mean
from compiler.profile.content import KINDS
from compiler.profile.recipes import resolved
from compiler.reading import read_toml
from compiler.records import Record

WIDTH = 100  # of a list that is written on one line


class Problem(Record, frozen=True):
    """One mistake in a profile. `path` is where inside the file: `encoder.passes[2].block_size`."""

    file: str
    path: str
    message: str
    suggestion: str = ""

    @property
    def text(self) -> str:
        """Everything but the file."""
        described = f"{self.message}; {self.suggestion}" if self.suggestion else self.message
        return f"{self.path}: {described}" if self.path else described


def names() -> tuple[str, ...]:
    """The shipped profiles, sorted."""
    return tuple(sorted(path.stem for path in _folder("targets").glob("*.toml")))


def find(name_or_path: str | Path) -> Path:
    """The file of a shipped profile, or the path itself. Raises ProfileError when there is neither."""
    if str(name_or_path) in names():
        return _folder("targets") / f"{name_or_path}.toml"
    path = Path(name_or_path)
    if os.path.isfile(path):
        return path
    raise ProfileError(
        f'profile "{name_or_path}" is unknown',
        expected=f"auto, {', '.join(names())}, or the path of a TOML file",
        action=did_you_mean(str(name_or_path), ("auto", *names())) or "see `compile profiles list`",
    )


def recipes() -> tuple[str, ...]:
    """The shipped recipes, sorted."""
    return tuple(sorted(path.stem for path in _folder("recipes").glob("*.toml")))


def read(path: Path) -> dict[str, Any]:
    """The raw TOML. Raises ProfileError where the file is not readable TOML."""
    return read_toml(path, ProfileError)


def whole(data: Mapping[str, Any]) -> dict[str, Any]:
    """A raw profile with the recipe that it names. Raises as `recipes.resolved`."""
    return resolved(data, _folder("recipes"))


def text(path: Path) -> str:
    """TOML of a whole profile, with its recipe. Raises as `read` and `whole`."""
    import tomli_w

    def joined(match: re.Match[str]) -> str:
        line = f"[{', '.join(part.strip().rstrip(',') for part in match[1].strip().splitlines())}]"
        return line if len(line) <= WIDTH else match[0]

    return re.sub(r"\[\n((?: +[^\[\]\n]+,\n)+)\]", joined, tomli_w.dumps(whole(read(path))))


def normalized(data: Mapping[str, Any]) -> dict[str, Any]:
    """The profile with every pass written as name and options. Only for data without mistakes."""
    result = dict(data)
    for kind in [kind for kind in KINDS if kind in result]:
        recipe = dict(result[kind])
        recipe["passes"] = [_choice(entry) for entry in recipe["passes"]]
        recipe["precisions"] = {
            precision: [_choice(entry) for entry in entries] for precision, entries in recipe["precisions"].items()
        }
        result[kind] = recipe
    return result


def _choice(entry: str | Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(entry, str):
        return {"name": entry}
    return {"name": entry["name"], "options": {key: value for key, value in entry.items() if key != "name"}}


def _folder(name: str) -> Path:
    package = Path(__file__).parents[1]
    shipped = package / "profiles"
    return (shipped if shipped.is_dir() else package.parent / "profiles") / name
