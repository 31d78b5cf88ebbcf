"""Every name of CUDA that is used exists in its bindings, and functions get as many arguments as they take."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cuda.bindings import driver as bindings
from cuda.bindings import runtime

from compiler import driver
from tests.engines.tensorrt.fake_cuda import FakeCuda

ROOT = Path(__file__).parents[3] / "compiler"
MODULES = [path for path in sorted((ROOT / "engines").rglob("*.py")) if "cuda.bindings" in path.read_text("utf-8")]
MODULES += [path for path in sorted((ROOT / "engines" / "tensorrt").rglob("*.py")) if path not in MODULES]
NAME = re.compile(r"cuda[A-Z]\w*")


def called(source: str) -> Iterator[tuple[str, int]]:
    """Every function of the runtime, and how many arguments it gets."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        if isinstance(node.func, ast.Attribute) and NAME.fullmatch(node.func.attr):
            yield node.func.attr, len(node.args)
        for position, argument in enumerate(node.args):
            if isinstance(argument, ast.Constant) and NAME.fullmatch(str(argument.value)):
                # The first argument is called with the others; a later one is what gives one handle back.
                yield argument.value, 1 if position else len(node.args) - 1


def named(source: str) -> set[str]:
    """All names of the runtime in a source."""
    nodes = list(ast.walk(ast.parse(source)))
    words = [node.attr for node in nodes if isinstance(node, ast.Attribute)]
    words += [node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    return {word for word in words if NAME.fullmatch(word)}


def known() -> set[str]:
    """Functions, constants, enumerations and their members."""
    return set(vars(runtime)).union(*(getattr(each, "__members__", ()) for each in vars(runtime).values()))


def takes(function: Any) -> int:
    return len(inspect.signature(function).parameters)


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_names_exist(module: Path) -> None:
    assert named(module.read_text(encoding="utf-8")) <= known()


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_functions_get_what_they_take(module: Path) -> None:
    for name, given in called(module.read_text(encoding="utf-8")):
        assert takes(getattr(runtime, name)) == given, f"{name} gets {given} arguments"


def test_calls_are_found() -> None:
    found = [name for module in MODULES for name, _ in called(module.read_text(encoding="utf-8"))]
    assert {"cudaMalloc", "cudaFree", "cudaMemcpyAsync", "cudaStreamSynchronize"} <= set(found)


def test_a_wrong_call_is_found() -> None:
    source = (
        'cuda("cudaMemcpyAsync", target, source, size, stream)\n'
        "names.cudaMallok(4)\n"
        'super().__init__(cuda, at, "cudaFree")\n'
    )
    assert dict(called(source)) == {"cudaMemcpyAsync": 4, "cudaMallok": 1, "cudaFree": 1}
    assert takes(runtime.cudaMemcpyAsync) == 5
    assert takes(runtime.cudaFree) == 1
    assert named(source) - known() == {"cudaMallok"}


def test_the_stand_in_of_the_tests_is_like_it() -> None:
    fake = FakeCuda()
    functions = [name for name in dir(fake) if NAME.fullmatch(name) and inspect.ismethod(getattr(fake, name))]
    assert len(functions) > 10
    for name in functions:
        assert takes(getattr(fake, name)) == takes(getattr(runtime, name)), name
    for name in ("cudaError_t", "cudaMemcpyKind", "cudaStreamCaptureMode"):
        real = getattr(runtime, name).__members__
        for member, number in getattr(fake, name).__members__.items():
            assert int(real[member]) == int(number), member
    assert fake.cudaStreamNonBlocking == runtime.cudaStreamNonBlocking


def test_the_driver_has_what_is_asked_of_it() -> None:
    source = (ROOT / "driver.py").read_text(encoding="utf-8")
    functions = {node.attr for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Attribute)}
    functions = {name for name in functions if re.fullmatch(r"cu[A-Z]\w*", name)}
    assert {"cuInit", "cuDeviceGetAttribute"} <= functions
    assert {name.removesuffix("_v2") for name in functions} <= set(vars(bindings))


def test_numbers_of_the_driver_are_its_own() -> None:
    attribute, result = bindings.CUdevice_attribute, bindings.CUresult
    assert int(attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR) == driver.CAPABILITY_MAJOR
    assert int(attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR) == driver.CAPABILITY_MINOR
    assert int(result.CUDA_SUCCESS) == driver.SUCCESS
    assert int(result.CUDA_ERROR_NO_DEVICE) == driver.NO_DEVICE
    assert driver.HINTS.keys() <= result.__members__.keys()
