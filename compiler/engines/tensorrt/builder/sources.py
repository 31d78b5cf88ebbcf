"""What is asked of the ONNX file before TensorRT reads it: its number formats, its weight files, its nodes' modules."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from compiler.engines.onnxruntime.placement import read_proto

# ONNX's names of types by ours.
FORMATS: dict[str, str] = {
    "FLOAT": "float32",
    "FLOAT16": "float16",
    "BFLOAT16": "bfloat16",
    "INT8": "int8",
    "FLOAT8E4M3FN": "float8",
    "FLOAT8E4M3FNUZ": "float8",
    "FLOAT8E5M2": "float8",
    "FLOAT8E5M2FNUZ": "float8",
    "INT4": "int4",
    "UINT4": "int4",
    "FLOAT4E2M1": "float4",
}
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
    graph = read_proto(model).graph
    names = _type_names()
    tensors = [tensor for inner in _graphs(graph) for tensor in _tensors(inner)]
    types = {number for inner in _graphs(graph) for number in _types(inner)} | {tensor.data_type for tensor in tensors}
    files = {entry.value for tensor in tensors for entry in tensor.external_data if entry.key == "location"}
    return Source(
        model=model,
        nodes=tuple(Node(node.name, node.op_type, _module(node)) for node in graph.node),
        formats=frozenset(FORMATS[name] for number in types if (name := names[number]) in FORMATS),
        weights=tuple(sorted(files)),
    )


def _type_names() -> dict[int, str]:
    import onnx

    return {number: name for name, number in onnx.TensorProto.DataType.items()}


def _module(node: Any) -> str:
    return next((str(entry.value) for entry in node.metadata_props if entry.key == "module"), "")


def _graphs(graph: Any) -> Iterator[Any]:
    """A graph and those within its nodes."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (*([attribute.g] if attribute.HasField("g") else ()), *attribute.graphs):
                yield from _graphs(inner)


def _tensors(graph: Any) -> Iterator[Any]:
    """Weights and constants of a graph."""
    yield from graph.initializer
    for node in graph.node:
        yield from (attribute.t for attribute in node.attribute if attribute.HasField("t"))


def _types(graph: Any) -> Iterator[int]:
    """Types that inputs, outputs and casts name; those of all other tensors follow from them."""
    for value in (*graph.input, *graph.output, *graph.value_info):
        yield value.type.tensor_type.elem_type
    for node in graph.node:
        yield from (attribute.i for attribute in node.attribute if attribute.name in TYPE_ATTRIBUTES)
