"""What a planted fault is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import onnx_ir as ir

from compiler.engines import Feeds, Session


@dataclass(frozen=True)
class Fault:
    """One mistake. Exactly one of `edit`, `wrap` and `matrices` says what it changes.

    Attributes:
        subject: the tiny model it is planted into (`subjects`).
        name: what is wrong, for the table.
        edit: of a lowered graph.
        graph: which one: "" the main one, "encoder" the one that reads the text of an encoder-decoder.
        wrap: of the engine's own code, around the session.
        matrices: of what an adapter feeds.
        precisions: of the engines that can have it.
    """

    subject: str
    name: str
    edit: Callable[[ir.Model], None] | None = None
    graph: str = ""
    wrap: Callable[[Session], Session] | None = None
    matrices: Callable[[dict[str, Feeds]], dict[str, Feeds]] | None = None
    precisions: tuple[str, ...] = ("float32", "int8", "int4")

    @property
    def id(self) -> str:
        return f"{self.subject}: {self.name}"
