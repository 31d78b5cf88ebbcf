"""An ONNX file as TensorRT's network: parsed, and described."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from compiler.engines.onnx_file import MODULES_SHOWN
from compiler.engines.plans.shapes import InputShapes
from compiler.engines.tensorrt import flavors, objects
from compiler.engines.tensorrt.builder.sources import Node, Source
from compiler.engines.tensorrt.flavors import Flavor, Message
from compiler.errors import EngineError
from compiler.records import Placement, Range, Tensor

# numpy's names of TensorRT's types, and ours of those that numpy lacks.
TYPES: dict[str, str] = {
    "FLOAT": "float32",
    "HALF": "float16",
    "BF16": "bfloat16",
    "INT8": "int8",
    "INT32": "int32",
    "INT64": "int64",
    "BOOL": "bool",
    "UINT8": "uint8",
    "FP8": "float8",
    "INT4": "int4",
    "FP4": "float4",
}
ERRORS_SHOWN = 4


@dataclass(frozen=True)
class Parsed:
    """A network, and what must live as long as it does."""

    network: objects.INetworkDefinition
    builder: objects.Builder
    parser: objects.OnnxParser


def parse(flavor: Flavor, source: Source) -> Parsed:
    """Read a model into a strongly typed network.

    Raises:
        EngineError: TensorRT cannot read it; names every node that it refuses, and its module in the checkpoint.
    """
    trt, logger = flavor.module, flavors.logger(flavor)
    with flavors.messages() as messages:
        builder = trt.Builder(logger)
        network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
        parser = trt.OnnxParser(network, logger)
        whole = parser.parse_from_file(str(source.model))
    if not whole:
        raise _refused(flavor, source, [parser.get_error(index) for index in range(parser.num_errors)], messages)
    _allow_decomposing(trt, network)
    return Parsed(network, builder, parser)


def check_network(network: Any, shapes: InputShapes) -> None:
    """Nothing where a profile fits the network: its inputs, its fixed sizes, one range for each of its named dims.

    Args:
        network: a parsed `INetworkDefinition`.

    Raises:
        EngineError: it does not; the record of the model and its ONNX file differ.
    """
    inputs = {tensor.name: tensor for tensor in map(network.get_input, range(network.num_inputs))}
    if inputs.keys() != shapes.keys():
        raise EngineError(
            "the model's inputs are not those of its record",
            found=", ".join(inputs),
            expected=", ".join(shapes),
            action="optimize the model again",
        )
    ranges: dict[str, tuple[str, Range]] = {}
    for name, tensor in inputs.items():
        sizes = list(zip(*shapes[name], strict=True))
        if len(sizes) != len(tensor.shape):
            raise _unlike(name, f"{len(tensor.shape)} dims", f"{len(sizes)} dims")
        for index, (size, (low, usual, high)) in enumerate(zip(tensor.shape, sizes, strict=True)):
            if size >= 0 and not low == usual == high == size:
                raise _unlike(name, f"a fixed size of {size} at dim {index}", f"{low} to {high}")
            dim = tensor.get_dimension_name(index) if size < 0 else ""
            first, known = ranges.setdefault(dim, (name, (low, usual, high))) if dim else ("", (low, usual, high))
            if known != (low, usual, high):
                raise _unlike(name, f'{low}, {usual}, {high} for the dim "{dim}"', f"{known} as for {first}")


def _allow_decomposing(trt: Any, network: objects.INetworkDefinition) -> None:
    """Let attention that has no kernel of its own, as in float32, be computed by products and a softmax."""
    if "ATTENTION_INPUT" not in trt.LayerType.__members__:
        return  # TensorRT before 10.14 has no such layer
    for index in range(network.num_layers):
        layer = network.get_layer(index)
        if layer.type == trt.LayerType.ATTENTION_INPUT:
            layer.__class__ = trt.IAttentionInputLayer  # it comes as a plain ILayer
            cast("objects.IAttentionInputLayer", layer).attention.decomposable = True


def _refused(
    flavor: Flavor, source: Source, errors: Sequence[objects.ParserError], messages: Sequence[Message]
) -> EngineError:
    subject = f"{flavor.name} {flavor.version} cannot read {source.model.name}"
    if not errors:
        found = "; ".join(message.text for message in messages[:ERRORS_SHOWN]) or "no reason was given"
        return EngineError(subject, found=found, action="optimize the model again, for this engine")
    lines = [f"{_node(source, error)}: {_reason(error)}" for error in errors[:ERRORS_SHOWN]]
    if len(errors) > ERRORS_SHOWN:
        lines.append(f"and {len(errors) - ERRORS_SHOWN} more")
    return EngineError(
        subject,
        found=f"\n{' ' * 12}".join(lines),
        expected="operators of standard ONNX, quantized symmetrically, to int8, float8, int4 or float4",
        action="lower the model with a profile of this engine, or leave that module in float16",
    )


def _node(source: Source, error: objects.ParserError) -> str:
    index = error.node()
    by_index = source.nodes[index] if 0 <= index < len(source.nodes) else None
    if by_index and by_index.operator != error.node_operator():
        by_index = None  # the number is that of a node within another one
    node = source.named(error.node_name()) or by_index or Node(error.node_name(), error.node_operator(), "")
    return str(node) if node.operator or node.name else "the model"


def _reason(error: objects.ParserError) -> str:
    """TensorRT's words; of an operator that it does not know there are none."""
    said = error.desc().strip()
    return f"{error.code().name} {said}" if said not in ("", "false") else error.code().name


def layers(network: objects.INetworkDefinition, source: Source, provider: str, graph: str) -> tuple[Placement, ...]:
    """The network's layers, counted by type and by what they give; the most frequent first."""
    groups: dict[tuple[str, str], list[str]] = defaultdict(list)
    for index in range(network.num_layers):
        layer = network.get_layer(index)
        precision = TYPES.get(layer.get_output(0).dtype.name, "none") if layer.num_outputs else "none"
        node = source.named(layer.name) or source.mentioned(layer.metadata) or source.mentioned(layer.name)
        groups[layer.type.name, precision].append(node.module if node else "")
    rows = [
        Placement(
            operator=operator,
            provider=provider,
            precision=precision,
            count=len(modules),
            modules=tuple(dict.fromkeys(filter(None, modules)))[:MODULES_SHOWN],
            graph=graph,
        )
        for (operator, precision), modules in groups.items()
    ]
    return tuple(sorted(rows, key=lambda row: (-row.count, row.operator, row.precision)))


def signature(
    network: objects.INetworkDefinition, inputs: Sequence[Tensor], outputs: Sequence[Tensor]
) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Inputs and outputs in TensorRT's order and types; dims have the names that the model's record gives them."""
    names = {tensor.name: tensor.shape for tensor in (*inputs, *outputs)}
    return (
        tuple(_tensor(network.get_input(index), names) for index in range(network.num_inputs)),
        tuple(_tensor(network.get_output(index), names) for index in range(network.num_outputs)),
    )


def _tensor(tensor: objects.ITensor, names: dict[str, tuple[int | str, ...]]) -> Tensor:
    known = names.get(tensor.name, ())
    shape = tuple(
        size if size >= 0 else known[index] if len(known) == len(tensor.shape) else f"dim_{index}"
        for index, size in enumerate(tensor.shape)
    )
    return Tensor(name=tensor.name, dtype=TYPES.get(tensor.dtype.name, tensor.dtype.name.lower()), shape=shape)


def _unlike(name: str, found: str, expected: str) -> EngineError:
    return EngineError(
        f'input "{name}" of the model is not as in its record',
        found=found,
        expected=expected,
        action="optimize the model again",
    )
