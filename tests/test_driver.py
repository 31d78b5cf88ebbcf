"""Asking the NVIDIA driver, with a library in its place: every way in which there can be no GPU."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import pytest

from compiler import driver, machine
from compiler.driver import Device, Found, probe
from compiler.records import Gpu

ERRORS = {100: b"CUDA_ERROR_NO_DEVICE", 34: b"CUDA_ERROR_STUB_LIBRARY", 999: b"CUDA_ERROR_UNKNOWN"}
L4 = ("NVIDIA L4", 8, 9, 23 << 30)
H100 = ("NVIDIA H100", 9, 0, 80 << 30)


class Library:
    """The driver's functions as ctypes calls them: results go where the pointers say."""

    def __init__(
        self, *gpus: tuple[str, int, int, int], init: int = 0, failing: str = "", version: int = 13000
    ) -> None:
        self._gpus, self._init, self._failing, self._version = gpus, init, failing, version
        self.called: list[str] = []

    def _give(self, function: str, pointer: Any, value: int) -> int:
        self.called.append(function)
        if function == self._failing:
            return 999
        pointer._obj.value = value
        return 0

    def cuInit(self, flags: int) -> int:  # noqa: N802
        self.called.append("cuInit")
        assert flags == 0
        return self._init

    def cuDriverGetVersion(self, pointer: Any) -> int:  # noqa: N802
        return self._give("cuDriverGetVersion", pointer, self._version)

    def cuDeviceGetCount(self, pointer: Any) -> int:  # noqa: N802
        return self._give("cuDeviceGetCount", pointer, len(self._gpus))

    def cuDeviceGet(self, pointer: Any, index: int) -> int:  # noqa: N802
        return self._give("cuDeviceGet", pointer, index)

    def cuDeviceGetName(self, buffer: Any, size: int, handle: ctypes.c_int) -> int:  # noqa: N802
        buffer.value = self._gpus[handle.value][0].encode()[: size - 1]
        return 0

    def cuDeviceGetAttribute(self, pointer: Any, attribute: int, handle: ctypes.c_int) -> int:  # noqa: N802
        return self._give("cuDeviceGetAttribute", pointer, self._gpus[handle.value][{75: 1, 76: 2}[attribute]])

    def cuDeviceTotalMem_v2(self, pointer: Any, handle: ctypes.c_int) -> int:  # noqa: N802
        return self._give("cuDeviceTotalMem_v2", pointer, self._gpus[handle.value][3])

    def cuGetErrorName(self, code: int, pointer: Any) -> int:  # noqa: N802
        pointer._obj.value = ERRORS.get(code)
        return 0 if code in ERRORS else 1


def loading(library: Any) -> Callable[[str], Any]:
    return lambda _name: library


def test_every_gpu_is_described() -> None:
    found = probe(loading(Library(L4, H100)))
    assert found.why_none == ""
    assert found.devices == (
        Device("NVIDIA L4", "8.9", 23 << 30, "13.0"),
        Device("NVIDIA H100", "9.0", 80 << 30, "13.0"),
    )


@pytest.mark.parametrize(("version", "text"), [(12080, "12.8"), (13000, "13.0"), (11040, "11.4"), (13040, "13.4")])
def test_the_drivers_cuda_version(version: int, text: str) -> None:
    assert probe(loading(Library(L4, version=version))).devices[0].driver == text


def test_no_context_is_created() -> None:
    library = Library(L4)
    probe(loading(library))
    assert not [name for name in library.called if "Ctx" in name]


@pytest.mark.parametrize(("system", "name"), [("Linux", "libcuda.so.1"), ("Windows", "nvcuda.dll")])
def test_without_a_driver_it_is_said_what_to_install(system: str, name: str) -> None:
    def load(library: str) -> Any:
        raise OSError(f"{library}: cannot open shared object file: No such file or directory")

    assert probe(load, system) == Found(
        (), f"no NVIDIA driver here ({name} was not found); install one from nvidia.com/drivers"
    )


def test_a_driver_that_cannot_be_loaded() -> None:
    def load(library: str) -> Any:
        raise OSError(f"{library}: invalid ELF header")

    assert "cannot be loaded: libcuda.so.1: invalid ELF header" in probe(load, "Linux").why_none


@pytest.mark.parametrize("library", [Library(), Library(L4, init=100)])
def test_a_driver_without_a_gpu(library: Library) -> None:
    found = probe(loading(library))
    assert found.devices == ()
    assert "driver for CUDA 13.0 is here, but no GPU" in found.why_none
    assert "CUDA_VISIBLE_DEVICES" in found.why_none


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (34, "cuInit says CUDA_ERROR_STUB_LIBRARY; this library is the toolkit's stand-in"),
        (999, "cuInit says CUDA_ERROR_UNKNOWN; see nvidia-smi"),
        (12345, "cuInit says CUresult 12345"),
    ],
)
def test_a_failing_driver_is_named_with_its_error(code: int, text: str) -> None:
    library = Library(L4, init=code)
    found = probe(loading(library))
    assert found.devices == ()
    assert text in found.why_none
    assert library.called == ["cuInit"]


@pytest.mark.parametrize("function", ["cuDriverGetVersion", "cuDeviceGetCount", "cuDeviceGet", "cuDeviceTotalMem_v2"])
def test_any_call_that_fails_is_named(function: str) -> None:
    found = probe(loading(Library(L4, failing=function)))
    assert found.devices == ()
    assert f"{function.removesuffix('_v2')} says CUDA_ERROR_UNKNOWN" in found.why_none


def test_a_library_that_lacks_functions() -> None:
    assert "is not an NVIDIA driver that can be used" in probe(loading(object())).why_none


def test_this_process_is_asked_once() -> None:
    assert driver.devices() is driver.devices()
    assert bool(driver.devices()) != bool(driver.why_none())


def test_a_machine_lists_its_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "_here", lambda: probe(loading(Library(L4))))
    assert machine.detect().gpus == (
        Gpu(name="NVIDIA L4", compute_capability="8.9", memory_bytes=23 << 30, driver="13.0"),
    )
