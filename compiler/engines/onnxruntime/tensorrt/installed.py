"""Whether the TensorRT that ONNX Runtime needs is here: release 10, whose libraries it loads by name."""

from __future__ import annotations

import ctypes
import functools
import importlib
import importlib.util
from importlib import metadata
from pathlib import Path

from compiler import driver
from compiler.engines.plans.capabilities import target_of
from compiler.errors import EngineUnavailableError

PROVIDER = "TensorrtExecutionProvider"
MAJOR = 10
LIBRARIES = ("libnvinfer", "libnvinfer_plugin", "libnvonnxparser")
WHEELS = "tensorrt_libs"  # the package that NVIDIA's wheels put the libraries into


def why_no_library() -> str | None:
    """None where TensorRT 10's libraries can be loaded, otherwise what is here instead and what to install."""
    try:
        _library()
    except OSError as error:
        install = f'pip install "tensorrt-cu{_cuda_major()}>={MAJOR},<{MAJOR + 1}"'
        other = _other_release()
        if other is None:
            return f"{error}; install TensorRT {MAJOR}: {install}"
        return (
            f"TensorRT {other} is installed, but this ONNX Runtime needs TensorRT {MAJOR} (libnvinfer.so.{MAJOR}): "
            f"{install}; the engine tensorrt serves TensorRT {other} itself"
        )
    return None


def library_version() -> str:
    """The release of TensorRT, as in "10.13.3".

    Raises:
        EngineUnavailableError: there is none.
    """
    if reason := why_no_library():
        raise EngineUnavailableError("TensorRT is not available here", found=reason)
    number = int(_library().getInferLibVersion())
    return f"{number // 10000}.{number // 100 % 100}.{number % 100}"


def target(device: int) -> str:
    """The GPU of this number as a target of plans, as in "sm89".

    Raises:
        EngineUnavailableError: there is none.
    """
    gpus = driver.devices()
    if not 0 <= device < len(gpus):
        raise EngineUnavailableError(f"there is no GPU {device} here", found=f"{len(gpus)} GPUs")
    return target_of(gpus[device].compute_capability)


@functools.cache
def _library() -> ctypes.CDLL:
    """libnvinfer, and the others with it: once loaded, ONNX Runtime finds them wherever they lie."""
    loaded = {name: _load(f"{name}.so.{MAJOR}") for name in LIBRARIES}
    return loaded["libnvinfer"]


def _load(name: str) -> ctypes.CDLL:
    """A library of the system, or of NVIDIA's wheels. Raises OSError."""
    try:
        return ctypes.CDLL(name, mode=ctypes.RTLD_GLOBAL)
    except OSError:
        wheel = importlib.util.find_spec(WHEELS)
        folders = wheel.submodule_search_locations if wheel else None
        for folder in folders or ():
            if (file := Path(folder, name)).is_file():
                return ctypes.CDLL(str(file), mode=ctypes.RTLD_GLOBAL)
        raise


def _other_release() -> str | None:
    """A release of TensorRT that is installed from wheels."""
    for name in ("tensorrt", *(f"tensorrt-cu{cuda}" for cuda in (12, 13))):
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return None


def _cuda_major() -> str:
    """The major version of CUDA that this ONNX Runtime was built for."""
    built_for = str(getattr(importlib.import_module("onnxruntime"), "cuda_version", "") or "")
    return built_for.partition(".")[0] or "12"
