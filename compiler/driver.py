"""The NVIDIA driver, asked through its own library: which GPUs are here, or why there are none.

TensorRT's runtime can crash the process where there is no driver, so this is asked before anything of it is touched.
No context is created. CUDA does not work in processes that are forked after it was asked.
"""

from __future__ import annotations

import ctypes
import functools
import platform
import re
from collections.abc import Callable
from typing import Any, NamedTuple

LIBRARIES: dict[str, str] = {"Windows": "nvcuda.dll"}
LIBRARY = "libcuda.so.1"

# Of the driver's enumerations CUresult and CUdevice_attribute, which do not change.
SUCCESS, NO_DEVICE = 0, 100
CAPABILITY_MAJOR, CAPABILITY_MINOR = 75, 76
NAME_BYTES = 256

HINTS: dict[str, str] = {
    "CUDA_ERROR_STUB_LIBRARY": "this library is the toolkit's stand-in for linking; put the driver's before it",
    "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH": "its library and its kernel module have different versions; restart",
    "CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE": "a compatibility library is loaded that this GPU does not support",
    "CUDA_ERROR_SYSTEM_NOT_READY": "the fabric manager of this machine is not running",
}

Loader = Callable[[str], Any]  # the name of a shared library to its functions; raises OSError


class Device(NamedTuple):
    """A GPU. `compute_capability` is as in "8.9", `driver` the CUDA version that the driver offers, as in "13.0"."""

    name: str
    compute_capability: str
    memory_bytes: int
    driver: str


class Found(NamedTuple):
    """`why_none` says why `devices` is empty, and what to do; it is empty where there are some."""

    devices: tuple[Device, ...]
    why_none: str


def devices() -> tuple[Device, ...]:
    """The GPUs that this process may use, in CUDA's order. Asked once for the process; never raises."""
    return _here().devices


def why_none() -> str:
    """Why there are none, in one sentence; "" where there are some."""
    return _here().why_none


def probe(load: Loader = ctypes.CDLL, system: str = "") -> Found:
    """Ask the driver anew.

    Args:
        load: opens a shared library by its name.
        system: as `platform.system()` says it; this one's by default.
    """
    library = LIBRARIES.get(system or platform.system(), LIBRARY)
    try:
        cuda = load(library)
    except OSError as error:
        if re.search("no such file|could not find", str(error), re.IGNORECASE):
            return Found((), f"no NVIDIA driver here ({library} was not found); install one from nvidia.com/drivers")
        return Found((), f"the NVIDIA driver's library cannot be loaded: {error}; install the driver again")
    try:
        return _ask(cuda)
    except _DriverError as error:
        return Found((), f"the NVIDIA driver fails: {error}")
    except AttributeError as error:
        return Found((), f"{library} is not an NVIDIA driver that can be used ({error}); install a newer one")


@functools.cache
def _here() -> Found:
    return probe()


class _DriverError(Exception):
    pass


def _ask(cuda: Any) -> Found:
    code = cuda.cuInit(0)
    if code != NO_DEVICE:
        _check(cuda, "cuInit", code)
    version = ctypes.c_int()
    _check(cuda, "cuDriverGetVersion", cuda.cuDriverGetVersion(ctypes.byref(version)))
    offered = f"{version.value // 1000}.{version.value % 1000 // 10}"
    count = ctypes.c_int()
    if code != NO_DEVICE:
        _check(cuda, "cuDeviceGetCount", cuda.cuDeviceGetCount(ctypes.byref(count)))
    if not count.value:
        return Found(
            (),
            f"an NVIDIA driver for CUDA {offered} is here, but no GPU that this process may use; look at nvidia-smi, "
            "at CUDA_VISIBLE_DEVICES, and at whether the container was given one",
        )
    return Found(tuple(_device(cuda, index, offered) for index in range(count.value)), "")


def _device(cuda: Any, index: int, driver: str) -> Device:
    handle, major, minor = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
    name, memory = ctypes.create_string_buffer(NAME_BYTES), ctypes.c_size_t()
    get = cuda.cuDeviceGetAttribute
    _check(cuda, "cuDeviceGet", cuda.cuDeviceGet(ctypes.byref(handle), index))
    _check(cuda, "cuDeviceGetName", cuda.cuDeviceGetName(name, NAME_BYTES, handle))
    _check(cuda, "cuDeviceGetAttribute", get(ctypes.byref(major), CAPABILITY_MAJOR, handle))
    _check(cuda, "cuDeviceGetAttribute", get(ctypes.byref(minor), CAPABILITY_MINOR, handle))
    _check(cuda, "cuDeviceTotalMem", cuda.cuDeviceTotalMem_v2(ctypes.byref(memory), handle))
    return Device(name.value.decode(errors="replace"), f"{major.value}.{minor.value}", memory.value, driver)


def _check(cuda: Any, function: str, code: int) -> None:
    if code == SUCCESS:
        return
    text = ctypes.c_char_p()
    known = cuda.cuGetErrorName(code, ctypes.byref(text)) == SUCCESS and text.value
    name = text.value.decode() if known and text.value else f"CUresult {code}"
    hint = HINTS.get(name, "see nvidia-smi, or install the driver again")
    raise _DriverError(f"{function} says {name}; {hint}")
