"""Placement fails closed: what was meant for the GPU and would run on the CPU is an error.

Shape arithmetic belongs on the CPU: sizes are known there, and kernels on the GPU are given them. ONNX Runtime's own
switch, `session.disable_cpu_ep_fallback`, refuses that too, and with it almost every graph that has a dynamic dim.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from compiler.engines.onnxruntime.provider import CPU, Provider
from compiler.errors import EngineError
from compiler.records import Placement

SHAPE_ARITHMETIC = frozenset(
    {"Add", "And", "Cast", "Concat", "Constant", "ConstantOfShape", "Div", "Equal", "Expand", "Flatten", "Gather"}
    | {"Greater", "GreaterOrEqual", "Identity", "Less", "LessOrEqual", "Max", "Min", "Mod", "Mul", "Neg", "Not", "Or"}
    | {"Range", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceSum", "Reshape", "ScatterND", "Shape", "Size", "Slice"}
    | {"Split", "Squeeze", "Sub", "Tile", "Transpose", "Unsqueeze", "Where"}
)
COPIES = frozenset({"MemcpyFromHost", "MemcpyToHost"})  # ONNX Runtime's own, between the two memories
INTEGERS = frozenset({"int64", "int32", "bool", "none"})
_MODULES, _OPERATORS = 4, 6  # shown in an error


def refuse_unloaded(provider: Provider, loaded: Sequence[str]) -> None:
    """Nothing where this provider and those behind it are among those that ONNX Runtime has, or really loaded.

    Raises:
        EngineError: it would go on without one.
    """
    wanted = [name for name, _ in provider.chain]
    if [name for name in loaded if name in wanted] != wanted:
        missing = next((name for name in wanted if name not in loaded), wanted[0])
        raise EngineError(
            f"ONNX Runtime could not load {missing}, and would have gone on without it",
            found=", ".join(loaded),
            expected=", ".join(wanted),
            action="install the CUDA and cuDNN libraries that this onnxruntime-gpu was built for: "
            'pip install "onnxruntime-gpu[cuda,cudnn]"',
        )


def refuse_assigned(session: Any, provider: Provider, modules: Mapping[str, str]) -> None:
    """Nothing where, as the session was opened, only operators of shape arithmetic were given to the CPU.

    Args:
        session: with `session.record_ep_graph_assignment_info` set.
        modules: of the checkpoint, by the names of nodes.

    Raises:
        EngineError: names the operators that were, and their modules.
    """
    if not hasattr(session, "get_provider_graph_assignment_info"):
        return  # an older ONNX Runtime; `build` has looked at what really ran
    strays: dict[str, list[str]] = {}
    for part in session.get_provider_graph_assignment_info():
        for node in part.get_nodes() if part.ep_name == CPU.name else ():
            if node.op_type not in SHAPE_ARITHMETIC | COPIES:
                strays.setdefault(node.op_type, []).append(modules.get(node.name, ""))
    _refuse((_shown(operator, len(of), of) for operator, of in strays.items()), provider)


def refuse_strays(rows: Sequence[Placement], provider: Provider) -> None:
    """Nothing where, of what really ran, only arithmetic with integers ran on the CPU.

    Raises:
        EngineError: names the operators and their modules.
    """
    strays = (row for row in rows if row.provider == CPU.name and row.operator not in COPIES)
    _refuse(
        (
            _shown(f"{row.operator} {row.precision}", row.count, row.modules)
            for row in strays
            if not (row.operator in SHAPE_ARITHMETIC and row.precision in INTEGERS)
        ),
        provider,
    )


def _shown(operator: str, count: int, modules: Iterable[str]) -> str:
    named = list(dict.fromkeys(filter(None, modules)))[:_MODULES]
    return f"{count} {operator}" + (f" ({', '.join(named)})" if named else "")


def _refuse(strays: Iterable[str], provider: Provider) -> None:
    found = list(strays)
    if found:
        rest = f"; {len(found) - _OPERATORS} more" if len(found) > _OPERATORS else ""
        raise EngineError(
            f"a part of this model would run on the CPU, not with {provider.name}",
            found="; ".join(found[:_OPERATORS]) + rest,
            expected="nothing but shape arithmetic on the CPU",
            action="choose a precision whose operators the GPU has, or another profile",
        )
