"""The two products that build plans, TensorRT itself and TensorRT for RTX: which are here, and which builds for what.

TensorRT builds only for the GPU that is present; TensorRT for RTX builds ahead of time for any target that it serves.
"""

from __future__ import annotations

import importlib
import re
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

from compiler import driver
from compiler.engines.plans.capabilities import FlavorName, capability, described
from compiler.engines.tensorrt.api import TensorRT
from compiler.errors import EngineUnavailableError

# The module of each flavor, and the oldest release whose names we use.
PACKAGES: dict[FlavorName, str] = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}
OLDEST: dict[FlavorName, tuple[int, int]] = {"tensorrt": (10, 12), "tensorrt-rtx": (1, 7)}

# What TensorRT says over and over where there is no driver, whatever else goes wrong.
NOISE = re.compile(r"cudaError 35\b|CUDA driver version is insufficient|CUDA initialization failure")
KEPT = frozenset({"INTERNAL_ERROR", "ERROR", "WARNING"})


@dataclass(frozen=True)
class Flavor:
    """An installed flavor; `version` has four parts, as in "1.7.1.116"."""

    name: FlavorName
    version: str
    module: TensorRT


class Message(NamedTuple):
    """A line of TensorRT's log; `severity` is one of `KEPT`."""

    severity: str
    text: str


def probe(name: FlavorName) -> Flavor | str:
    """A flavor, or why it cannot be used here and the command that installs it."""
    package = PACKAGES[name]
    install = f"install it with: pip install 'transformer-compiler[{name}]'"
    try:
        module = importlib.import_module(package)
    except ModuleNotFoundError as error:
        missing = "is not installed" if error.name == package else f"is half installed: {error}"
        return f"{name} {missing}; {install}"
    except (ImportError, OSError) as error:  # the wheel is here, the libraries that it loads are not
        return f"{name} is half installed: {error}; {install}"
    version = str(getattr(module, "__version__", ""))
    if not re.match(r"\d+(\.\d+)+", version):
        return f"{name} is half installed: {package} has no version; {install}"
    major, minor = (int(part) for part in version.split(".")[:2])
    if (major, minor) < OLDEST[name]:
        oldest = ".".join(map(str, OLDEST[name]))
        return f"{name} {version} is too old, {oldest} is the oldest that is used; {install} --upgrade"
    return Flavor(name, version, cast("TensorRT", module))


def installed() -> tuple[Flavor, ...]:
    """Every flavor that can be used here."""
    return tuple(found for name in PACKAGES if isinstance(found := probe(name), Flavor))


def absent() -> dict[FlavorName, str]:
    """Why each of the others cannot."""
    return {name: found for name in PACKAGES if isinstance(found := probe(name), str)}


def flavor_for(target: str, present: Collection[str] = ()) -> Flavor:
    """The flavor that builds for a target: TensorRT where its GPU is present, otherwise TensorRT for RTX.

    Args:
        present: targets of the GPUs that are here.

    Raises:
        EngineUnavailableError: which flavor serves that GPU, and how to install it.
        ProfileError: the target is unknown.
    """
    serves = capability(target).flavors
    full, rtx = (probe(name) if name in serves else "" for name in PACKAGES)
    if isinstance(full, Flavor) and target in present:
        return full
    if isinstance(rtx, Flavor):
        return rtx
    raise EngineUnavailableError(
        f"nothing here builds plans for {described(target)}",
        found="; ".join(filter(None, (_lacking(full), rtx, f"GPUs here: {', '.join(present) or 'none'}"))),
        expected=(
            "tensorrt-rtx anywhere, or tensorrt on a machine with that GPU"
            if "tensorrt-rtx" in serves
            else "tensorrt on a machine with that GPU; tensorrt-rtx does not serve it"
        ),
        action=(
            "pip install 'transformer-compiler[tensorrt-rtx]'"
            if "tensorrt-rtx" in serves
            else "on such a machine: pip install 'transformer-compiler[tensorrt]', and build there"
        ),
    )


def _lacking(full: Flavor | str) -> str:
    if isinstance(full, str):
        return full
    return f"{full.name} {full.version}, which builds only for the GPU that is present"


def logger(flavor: Flavor) -> Any:
    """The process's only logger of a flavor, for its Builder and its Runtime: TensorRT ignores a second one."""
    with _LOCK:
        if flavor.name not in _LOGGERS:
            # machine.detect() would read texts of changing length, and move what TensorRT then orders by address.
            _LOGGERS[flavor.name] = _native(flavor.module, driverless=not driver.devices())
        return _LOGGERS[flavor.name]


@contextmanager
def messages() -> Iterator[list[Message]]:
    """What TensorRT logs while the block runs: for this thread, or from a thread that nobody here started."""
    found: list[Message] = []
    thread = threading.get_ident()
    with _LOCK:
        _LISTENERS.append((thread, found))
    try:
        yield found
    finally:
        with _LOCK:
            _LISTENERS[:] = [entry for entry in _LISTENERS if entry[1] is not found]


_LOCK = threading.RLock()
_LOGGERS: dict[FlavorName, Any] = {}
_LISTENERS: list[tuple[int, list[Message]]] = []


def _native(trt: TensorRT, *, driverless: bool) -> Any:
    class Logger(trt.ILogger):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, text: str) -> None:
            if severity.name in KEPT and not (driverless and NOISE.search(text)):
                _hand_out(Message(severity.name, text.strip()))

    return Logger()


def _hand_out(message: Message) -> None:
    thread = threading.get_ident()
    with _LOCK:
        own = [found for listener, found in _LISTENERS if listener == thread]
        for found in own or [found for _, found in _LISTENERS]:
            found.append(message)
