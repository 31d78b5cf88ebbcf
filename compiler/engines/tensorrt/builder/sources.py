"""What is asked of the ONNX file before TensorRT reads it: its number formats, its weight files, its nodes' modules."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from compiler.engines import onnx_file

TYPE_ATTRIBUTES = frozenset({"to", "dtype", "output_dtype"})
SEPARATORS = re.compile(r"[\s\[\]{}(),;'\"]+|: ")


class Node(NamedTuple):
    """`module` is its path in the checkpoint, "" where unknown."""

    name: str
    operator: str
    module: str

    def __str__(self) -> str:
        module = f" of {self.module}" if self.module else ""
        return f'{self.operator} "{self.name}"{module}'


@dataclass(frozen=True)
class Source:
    """An ONNX file as read.

    Attributes:
        nodes: of the main graph, in the file's order.
        formats: number formats of its tensors, by our names.
        weights: external data files, relative to the model's folder.
    """

    model: Path
    nodes: tuple[Node, ...]
    formats: frozenset[str] = frozenset()
    weights: tuple[str, ...] = ()

    def named(self, name: str) -> Node | None:
        """The node of this name."""
        return self._by_name.get(name)

    def mentioned(self, text: str) -> Node | None:
        """The node that a message speaks of: the longest name in it."""
        found = [node for word in SEPARATORS.split(text) if (node := self.named(word))]
        return max(found, key=lambda node: len(node.name), default=None)

    @functools.cached_property
    def _by_name(self) -> dict[str, Node]:
        return {node.name: node for node in self.nodes if node.name}


def read(model: Path) -> Source:
    """Read an ONNX file, its weights left on disk.

    Raises:
        EngineError: not an ONNX file.
    """
    graph = onnx_file.read(model).graph
    inner = list(onnx_file.graphs(graph))
    tensors = [tensor for each in inner for tensor in onnx_file.tensors(each)]
    types = {number for each in inner for number in _types(each)} | {tensor.data_type for tensor in tensors}
    files = {entry.value for tensor in tensors for entry in tensor.external_data if entry.key == "location"}
    return Source(
        model=model,
        nodes=tuple(Node(node.name, node.op_type, onnx_file.module(node)) for node in graph.node),
        formats=frozenset(filter(None, map(onnx_file.format_of, types))),
        weights=tuple(sorted(files)),
    )


def _types(graph: Any) -> Iterator[int]:
    """Types that inputs, outputs and casts name; those of all other tensors follow from them."""
    for value in (*graph.input, *graph.output, *graph.value_info):
        yield value.type.tensor_type.elem_type
    for node in graph.node:
        yield from (attribute.i for attribute in node.attribute if attribute.name in TYPE_ATTRIBUTES)
