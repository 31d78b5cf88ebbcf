"""Every name of TensorRT's Python API that is used exists in all versions that are served, without a GPU."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest

from compiler.engines.plans.capabilities import CAPABILITIES
from compiler.engines.tensorrt import api, flavors, objects
from compiler.engines.tensorrt.builder import network, settings
from compiler.records import PlanOptions
from tests.engines.tensorrt.bindings import ALL, FULL, OLDEST, RTX, callback, names, parameters
from tests.engines.tensorrt.sources import MODULES, TYPES, callbacks, integers, unguarded, used

OBJECTS = {
    name: each for name, each in vars(objects).items() if inspect.isclass(each) and each.__module__ == objects.__name__
}
GENERAL = (objects.Enumerator.__name__, objects.Enumeration.__name__)
OURS = frozenset({"precision"})  # an attribute of our records; mypy refuses it on a layer, whose Protocol lacks it

# Names that the oldest version lacks, and what is asked for before they are used.
LATER: dict[str, str] = {
    "ATTENTION_INPUT": "ATTENTION_INPUT",  # TensorRT 10.14
    "IAttentionInputLayer": "ATTENTION_INPUT",
    "IAttention": "ATTENTION_INPUT",
    "attention": "ATTENTION_INPUT",
    "decomposable": "ATTENTION_INPUT",
    "get_aliased_input_tensor": "get_aliased_input_tensor",  # 10.15
}


def members(protocol: type) -> list[str]:
    """What a Protocol itself declares, special methods left out."""
    return [
        name for name in {**vars(protocol).get("__annotations__", {}), **vars(protocol)} if not name.startswith("_")
    ]


def declared() -> Iterator[tuple[str, type, bool]]:
    """TensorRT's name of each class, the Protocol for it, and whether RTX alone has what that declares."""
    for name, protocol in OBJECTS.items():
        if name.startswith("Rtx"):
            yield protocol.__bases__[0].__name__, protocol, True
        elif name not in GENERAL:
            yield name, protocol, name in members(api.RtxTensorRT)


def everything(binding: str) -> set[str]:
    """All names in a binding, of classes and of their members."""
    found = names(binding)
    return set(found).union(*found.values())


def later(binding: str) -> set[str]:
    return set(LATER) if binding == OLDEST else set()


def only_rtx() -> set[str]:
    """The names that are declared as RTX's own."""
    protocols = [protocol for _, protocol, rtx in declared() if rtx]
    return {name for protocol in (*protocols, api.RtxTensorRT) for name in members(protocol)} | {
        name for kind in members(api.RtxTensorRT) for name in names(RTX)[kind]
    }


def unknown(source: str) -> dict[str, int]:
    """Names in a source that one version has and another lacks.

    The oldest is left out: so much was added since then that words like `write` and `shape` would be among them.
    """
    versions = [everything(binding) for binding in ALL if binding != OLDEST]
    partial = set.union(*versions) - set.intersection(*versions) - only_rtx() - OURS
    return {name: line for name, line in used(source).items() if name in partial}


def enumerations() -> frozenset[str]:
    return frozenset(name for binding in ALL for name, each in names(binding).items() if "__members__" in each)


def test_the_bindings_are_read_for_what_they_are() -> None:
    oldest, old, new, rtx = (names(binding) for binding in ALL)
    assert not LATER.keys() & everything(OLDEST)
    assert LATER.keys() <= everything(FULL[1])
    assert "FP16" in old["BuilderFlag"]
    assert "FP16" not in new["BuilderFlag"]
    assert "device_memory_size" in old["ICudaEngine"]
    assert "device_memory_size" not in new["ICudaEngine"]
    assert "ComputeCapability" in rtx
    assert "ComputeCapability" not in {**oldest, **old, **new}


@pytest.mark.parametrize("binding", ALL)
def test_every_declared_name_is_there(binding: str) -> None:
    there = names(binding)
    for kind, protocol, rtx in declared():
        if not rtx or binding == RTX:
            missing = set(members(protocol)) - set(there.get(kind, ())) - later(binding)
            assert not missing, f"{kind} has no {missing}"


@pytest.mark.parametrize("binding", ALL)
def test_every_declared_class_is_there(binding: str) -> None:
    wanted = {*members(api.TensorRT), *(members(api.RtxTensorRT) if binding == RTX else ())}
    assert wanted - later(binding) <= set(names(binding))


@pytest.mark.parametrize("binding", FULL)
def test_what_is_called_rtx_only_is_not_elsewhere(binding: str) -> None:
    there = names(binding)
    assert not set(members(api.RtxTensorRT)) & set(there)
    for kind, protocol, rtx in declared():
        if rtx:
            assert not set(members(protocol)) & set(there.get(kind, ()))


def test_a_class_of_the_module_has_the_protocol_of_its_name() -> None:
    for name, annotation in get_type_hints(api.TensorRT).items():
        (protocol,) = get_args(annotation)
        assert protocol in (Any, objects.Enumeration, OBJECTS.get(name))


@pytest.mark.parametrize("binding", ALL)
def test_declared_methods_take_these_parameters(binding: str) -> None:
    for kind, protocol, rtx in declared():
        if rtx and binding != RTX:
            continue
        for name, method in vars(protocol).items():
            if not inspect.isfunction(method) or method.__module__ != objects.__name__:
                continue
            if (name.startswith("_") and name != "__init__") or name in later(binding):
                continue
            ours = list(inspect.signature(method).parameters)[1:]
            overloads = parameters(names(binding)[kind][name], name)
            fits = [required <= len(ours) and theirs[: len(ours)] == ours for theirs, required in overloads]
            assert any(fits), f"{kind}.{name}{tuple(ours)}: {overloads}"


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.name)
def test_a_module_uses_no_name_that_one_version_lacks(module: Path) -> None:
    assert unknown(module.read_text(encoding="utf-8")) == {}


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.name)
def test_what_the_oldest_version_lacks_is_asked_for(module: Path) -> None:
    assert module.name in TYPES or unguarded(module.read_text(encoding="utf-8"), LATER) == {}


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("size = engine.device_memory_size", "device_memory_size"),
        ("engine.weight_streaming_budget = 0", "weight_streaming_budget"),
        ("config.set_flag(trt.BuilderFlag.FP16)", "FP16"),
        ('config.set_flag(getattr(trt.BuilderFlag, "OBEY_PRECISION_CONSTRAINTS"))', "OBEY_PRECISION_CONSTRAINTS"),
        ("layer.set_output_type(0, trt.DataType.HALF)", "set_output_type"),
        ("parser.supports_model(model)", "supports_model"),
        ("network.add_plugin_v3(inputs, [], plugin)", "add_plugin_v3"),
        ("config.build_route = route", "build_route"),
    ],
)
def test_a_name_that_one_version_lacks_is_found(line: str, name: str) -> None:
    assert name in unknown(f"def build(trt, config, network, parser, engine, layer):\n    {line}\n")


def test_names_that_all_have_and_names_of_rtx_pass() -> None:
    source = (
        "config.set_flag(trt.BuilderFlag.STRIP_PLAN)\n"
        "config.set_compute_capability(trt.ComputeCapability.SM89, 0)\n"
        "size = engine.device_memory_size_v2\n"
    )
    assert unknown(source) == {}


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.name)
def test_no_integer_stands_for_an_enumerator(module: Path) -> None:
    assert list(integers(module.read_text(encoding="utf-8"), enumerations())) == []


@pytest.mark.parametrize(
    "line",
    ["network = builder.create_network(1)", "flags = 1 << 0", "config.set_flag(trt.BuilderFlag(19))"],
)
def test_an_integer_for_an_enumerator_is_found(line: str) -> None:
    assert len(list(integers(line, enumerations()))) == 1


@pytest.mark.parametrize("binding", ALL)
def test_what_tensorrt_calls_is_defined_as_it_calls_it(binding: str) -> None:
    found = [each for module in MODULES for each in callbacks(module.read_text(encoding="utf-8"))]
    assert {kind for kind, _, _ in found} == {"ILogger", "IErrorRecorder", "IProgressMonitor", "IOutputAllocator"}
    for kind, name, given in found:
        assert callback(names(binding)[kind], name) == given, f"{kind}.{name}"


@pytest.mark.parametrize("binding", ALL)
def test_names_in_tables_are_there(binding: str) -> None:
    """What is looked up by name, and has no attribute of that name in the code."""
    there = names(binding)
    everything = PlanOptions(version_compatible=True, weight_streaming=True, strip=True)
    assert set(settings.flags(everything)) <= set(there["BuilderFlag"])
    assert set(settings.HARDWARE.values()) <= set(there["HardwareCompatibilityLevel"])
    assert set(network.TYPES) <= set(there["DataType"])
    assert set(there["ILogger"]) >= flavors.KEPT


def test_rtx_knows_the_targets_that_it_serves() -> None:
    served = {target for target, row in CAPABILITIES.items() if "tensorrt-rtx" in row.flavors}
    there = {name for name in names(RTX)["ComputeCapability"] if name.startswith("SM")}
    assert {target.upper() for target in served} == there


def test_strong_typing_is_asked_for_by_name() -> None:
    """Its integer is 1 in TensorRT 10 and 0 in 11."""
    assert any("STRONGLY_TYPED" in used(module.read_text()) for module in MODULES if module.name not in TYPES)


def test_every_declared_name_is_used() -> None:
    """So that the declarations stay as small as the code's needs."""
    everywhere = {name for module in MODULES if module.name not in TYPES for name in used(module.read_text())}
    listed = {name for protocol in (*OBJECTS.values(), api.TensorRT, api.RtxTensorRT) for name in members(protocol)}
    assert listed - everywhere == set()
