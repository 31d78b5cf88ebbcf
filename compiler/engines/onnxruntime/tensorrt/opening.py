"""Open a graph with the engines of its bundle, and with no others."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Sequence
from pathlib import Path

from compiler.engines.onnxruntime.session import OnnxRuntimeSession
from compiler.engines.onnxruntime.tensorrt import packing
from compiler.engines.onnxruntime.tensorrt.installed import library_version, target
from compiler.engines.onnxruntime.tensorrt.provider import provider
from compiler.engines.plans.files import read_verified
from compiler.errors import EngineError, EngineUnavailableError
from compiler.records import EngineOptions, Plan


def open_verified(model: Path, options: EngineOptions, plans: Sequence[Plan]) -> OnnxRuntimeSession:
    """See `onnxruntime_tensorrt.open`. The bundle is only read: ONNX Runtime works in a private copy of the engines."""
    plan = _fitting(plans, target(options.device), library_version())
    content = read_verified(plan, model.parent)
    with tempfile.TemporaryDirectory() as private:  # engines are in memory once the session is open
        folder = Path(private)
        packing.unpack(content, folder)
        given = _digests(folder)
        session = OnnxRuntimeSession(model, options, provider(options, folder, plan.inputs, plan.shapes))
        if _digests(folder) != given:
            session.close()
            raise EngineError(
                f"{model}: ONNX Runtime did not take the bundle's engines, and compiled its own",
                expected="the engines that were built and checked",
                action="build the bundle again on this machine",
            )
    return session


def _fitting(plans: Sequence[Plan], here: str, version: str) -> Plan:
    for plan in plans:
        if (plan.target, plan.version) == (here, version):
            return plan
    raise EngineUnavailableError(
        "none of the bundle's engines is for this machine",
        found=", ".join(f"{plan.target} with TensorRT {plan.version}" for plan in plans) or "no engines",
        expected=f"{here} with TensorRT {version}",
        action="build the bundle again on this machine",
    )


def _digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}
