"""What a profile says about plans and the GPU they are for: targets, shapes, number formats."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from compiler.engines import planning
from compiler.engines.plans.capabilities import CAPABILITIES, capability, described, target_of
from compiler.engines.plans.shapes import EMPTY
from compiler.profile.content import KINDS, Device
from compiler.records import PlanOptions, Range, Shapes
from compiler.records.lowering import Capability
from compiler.validation.passes import formats_of
from compiler.validation.walk import Mistake, known, nearest

# The dims that the graphs of each kind of model name, and those that every bucket must give sizes for.
_DECODER = ("batch", "sequence", "kept", "past_sequence", "total_sequence", "rank")
DIMS: dict[str, tuple[str, ...]] = {
    "encoder": ("batch", "choices", "sequence", "rank"),
    "decoder": _DECODER,
    "encoder-decoder": ("encoder_sequence", *_DECODER),
}
NEEDED: dict[str, tuple[str, ...]] = {
    "encoder": ("sequence",),
    "decoder": ("sequence",),
    "encoder-decoder": ("encoder_sequence", "sequence"),
}


def plan_mistakes(data: dict[str, Any]) -> Iterator[Mistake]:
    """Mistakes in a profile's plans, shapes and device; what has the wrong type is left to the walk."""
    builders, targets = planning("here", "ahead"), _targets(data)
    planned, others = data.get("engine") in builders, f"only {' and '.join(builders)} do"
    if planned:
        yield from _plans(data, targets, ahead=data["engine"] in planning("ahead"))
    elif "plans" in data:
        yield Mistake("plans", "this engine builds no plans", others)
    yield from _requires(data)
    device = _typed(data.get("device"), Device)
    if device:
        yield from _device(data, device)
    for kind in [kind for kind in KINDS if isinstance(data.get(kind), dict)]:
        if planned:
            yield from _shapes(kind, data[kind].get("shapes"))
        elif "shapes" in data[kind]:
            yield Mistake(f"{kind}.shapes", "this engine takes no shapes", others)
        yield from _formats(kind, data[kind], device, [target for target in targets if target in CAPABILITIES])


def plan_schema(definitions: dict[str, Any]) -> None:
    """Bring the JSON Schema of `PlanOptions` to what a profile may hold."""
    options = definitions[PlanOptions.__name__]["properties"]
    del options["shapes"]
    options["targets"]["items"] = {"enum": list(CAPABILITIES)}


def _targets(data: dict[str, Any]) -> tuple[str, ...]:
    """Those of the plans, or that of the GPU that is required."""
    required = _required(data)
    named: tuple[str, ...] | None = _typed(_inside(data, "plans", "targets"), tuple[str, ...])
    return named or ((target_of(required),) if required else ())


def _plans(data: dict[str, Any], targets: tuple[str, ...], *, ahead: bool) -> Iterator[Mistake]:
    if _inside(data, "plans", "shapes") is not None:
        yield Mistake("plans.shapes", "shapes belong to a recipe", "write [[encoder.shapes]], [[decoder.shapes]]")
    for index, target in enumerate(_typed(_inside(data, "plans", "targets"), tuple[str, ...]) or ()):
        yield from known(f"plans.targets[{index}]", target, CAPABILITIES, "target")
    if _inside(data, "plans", "targets") and not ahead:
        yield Mistake(
            "plans.targets",
            "this engine builds for the GPU that is present",
            f"only {' and '.join(planning('ahead'))} builds ahead",
        )
    if ahead and not targets and not _inside(data, "requires", "compute_capability"):
        yield Mistake("requires.compute_capability", "missing key", 'name the GPU that plans are for, as in "8.9"')


def _requires(data: dict[str, Any]) -> Iterator[Mistake]:
    if required := _required(data):
        capabilities = [f"{target[2:-1]}.{target[-1]}" for target in CAPABILITIES]
        yield from known("requires.compute_capability", required, capabilities, "compute capability")
        if _inside(data, "requires", "min_compute_capability"):
            yield Mistake("requires.min_compute_capability", "compute_capability says it already", "drop one of them")


def _device(data: dict[str, Any], device: Device) -> Iterator[Mistake]:
    required = _required(data)
    if required and device.compute_capability != required:
        yield Mistake("device.compute_capability", "not the one that is required", f"requires says {required}")
    if (target := target_of(device.compute_capability)) in CAPABILITIES:
        for index, name in enumerate(device.precisions):
            if name != "float32" and name not in capability(target).formats:
                yield Mistake(f"device.precisions[{index}]", f"{described(target)} has no {name}", _first(name))


def _shapes(kind: str, shapes: Any) -> Iterator[Mistake]:
    if not shapes:
        example = " and ".join(f"{dim} = [1, 128, 512]" for dim in NEEDED[kind])
        message = "missing: plans are built for named sizes"
        yield Mistake(f"{kind}.shapes", message, f"write [[{kind}.shapes]], {example}")
        return
    for index, bucket in enumerate(shapes if isinstance(shapes, list) else ()):
        where = f"{kind}.shapes[{index}]"
        ranges: Shapes | None = _typed(bucket, Shapes)
        if ranges is None:
            continue
        for dim, sizes in ranges.items():
            yield from _sizes(kind, dim, sizes, f"{where}.{dim}")
        for dim in NEEDED[kind]:
            if dim not in ranges:
                yield Mistake(f"{where}.{dim}", "missing dim", f"write {dim} = [1, 128, 512]")


def _sizes(kind: str, dim: str, sizes: Range, path: str) -> Iterator[Mistake]:
    if dim not in DIMS[kind]:
        yield Mistake(path, "unknown dim", nearest(dim, DIMS[kind], "the dims here are"))
        return
    least = 0 if dim in EMPTY else 1
    if sizes[0] < least:
        yield Mistake(path, f"the smallest size is {sizes[0]}", f"take {least} or more")
    if list(sizes) != sorted(sizes):
        yield Mistake(path, f"not in ascending order: {list(sizes)}", "write [smallest, usual, largest]")


def _formats(kind: str, recipe: dict[str, Any], device: Device | None, targets: list[str]) -> Iterator[Mistake]:
    """Passes that write a number format which the device, or a target, cannot use."""
    precisions = recipe.get("precisions")
    lists = (
        {f"{kind}.precisions.{name}": given for name, given in precisions.items()}
        if isinstance(precisions, dict)
        else {}
    )
    for path, entries in {f"{kind}.passes": recipe.get("passes"), **lists}.items():
        for index, entry in enumerate(entries if isinstance(entries, list) else ()):
            for name in formats_of(entry):
                lacking = [described(target) for target in targets if name not in capability(target).formats]
                if device and name not in device.precisions:
                    lacking.insert(0, device.name)
                if lacking:
                    yield Mistake(f"{path}[{index}]", f"{lacking[0]} has no {name}", _first(name))


def _first(name: str) -> str:
    """Since which target a number format can be used."""
    able = [target for target, row in CAPABILITIES.items() if name in row.formats]
    return f"{name} needs {able[0]} or later" if able else ""


def _required(data: dict[str, Any]) -> str:
    return _typed(_inside(data, "requires", "compute_capability"), Capability) or ""


def _inside(data: dict[str, Any], table: str, key: str) -> Any:
    """The value of `key` in `table`, or None."""
    inner = data.get(table)
    return inner.get(key) if isinstance(inner, dict) else None


def _typed(value: Any, kind: Any) -> Any:
    """The value as this type, or None where it is not."""
    try:
        return None if value is None else msgspec.convert(value, kind)
    except msgspec.ValidationError:
        return None
