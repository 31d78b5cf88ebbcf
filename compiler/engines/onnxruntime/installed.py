"""What of ONNX Runtime on NVIDIA is there: the GPU, the right wheel, the libraries that it loads."""

from __future__ import annotations

import contextlib
import functools
import importlib
import io
from importlib import metadata

from compiler import driver
from compiler.errors import EngineUnavailableError

CPU_WHEEL, GPU_WHEEL = "onnxruntime", "onnxruntime-gpu"  # both fill one package, `onnxruntime`


def why_no_gpu() -> str | None:
    """None where there is a GPU and its driver, otherwise what is missing."""
    return driver.why_none() or None


def refuse_missing_device(device: int) -> None:
    """Nothing where there is a GPU of this number.

    Raises:
        EngineUnavailableError: it is not there.
    """
    there = driver.devices()
    if not there:
        raise EngineUnavailableError("no GPU can be used here", found=driver.why_none())
    if not 0 <= device < len(there):
        raise EngineUnavailableError(
            f"there is no GPU {device} here",
            found=f"{len(there)}, counted from 0",
            expected=f"a device of 0 to {len(there) - 1}",
        )


def why_without(provider: str) -> str | None:
    """None where this ONNX Runtime was built with the provider, otherwise why not and the command that installs it."""
    try:
        onnxruntime = importlib.import_module("onnxruntime")
    except ImportError as error:
        return f"{error}; install it with: pip install {GPU_WHEEL}"
    load_libraries()
    offered = onnxruntime.get_available_providers()
    if provider in offered:
        return None
    found = f"this ONNX Runtime has {', '.join(offered)} and not {provider}"
    cpu, gpu = _version(CPU_WHEEL), _version(GPU_WHEEL)
    if cpu and gpu:
        return (
            f"{found}: {CPU_WHEEL} {cpu} lies over {GPU_WHEEL} {gpu}, because both fill the same folder; keep one: "
            f"pip uninstall -y {CPU_WHEEL} {GPU_WHEEL} && pip install {GPU_WHEEL}"
        )
    if cpu:
        return f"{found}; replace it: pip uninstall -y {CPU_WHEEL} && pip install {GPU_WHEEL}"
    return f"{found}; install it anew: pip install --force-reinstall {GPU_WHEEL}"


@functools.cache
def load_libraries() -> None:
    """Load CUDA and cuDNN from their own wheels, where they are installed that way.

    What cannot be loaded shows when a session is opened; what ONNX Runtime prints about it is dropped.
    """
    onnxruntime = importlib.import_module("onnxruntime")
    if hasattr(onnxruntime, "preload_dlls"):
        with contextlib.redirect_stdout(io.StringIO()):
            onnxruntime.preload_dlls()


def _version(wheel: str) -> str | None:
    try:
        return metadata.version(wheel)
    except metadata.PackageNotFoundError:
        return None


def providers() -> tuple[str, ...]:
    """ONNX Runtime's own names of what this build of it can run on, best first; none where it is not installed."""
    try:
        return tuple(importlib.import_module("onnxruntime").get_available_providers())
    except ImportError:
        return ()
