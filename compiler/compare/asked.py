"""What both sides of a comparison are asked, and who is asked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from compiler.bundle import Files
from compiler.engines import Session, open_bundle
from compiler.records import Manifest
from compiler.runtime import Model
from compiler.runtime.text import Text

Item = dict[str, Any]
Scores = dict[str, float]


class Asked(NamedTuple):
    """A loaded bundle, with the session below its model."""

    model: Model
    session: Session
    text: Text


class Question(NamedTuple):
    """Something that both answer: about the item with this index, or about the `place` in it.

    `about` is what they are given. `answers` are the baseline's and the candidate's where these are known already;
    else each one's answer is that with its highest score.
    """

    item: int
    about: Item
    place: int | None = None
    answers: tuple[str, str] | None = None


@contextmanager
def asking(folder: Path, manifest: Manifest) -> Iterator[Asked]:
    """A bundle whose files were verified, loaded for as long as the block lasts."""
    session = open_bundle(folder, manifest, manifest.options)
    with Model(folder, manifest, session) as model:
        yield Asked(model, session, Text(Files(folder, manifest), manifest))
    session.close()
