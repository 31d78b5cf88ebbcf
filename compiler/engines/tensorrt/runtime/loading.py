"""From a plan's file to an engine in memory.

The bytes whose digest was compared are the bytes that are deserialized: a plan is executable code.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from compiler import driver
from compiler.bundle import PLANS
from compiler.engines.plans import files as plans
from compiler.engines.tensorrt import objects
from compiler.engines.tensorrt.api import TensorRT
from compiler.engines.tensorrt.builder.network import TYPES
from compiler.engines.tensorrt.flavors import Flavor, Message, logger, messages
from compiler.engines.tensorrt.runtime.buffers import Cuda
from compiler.errors import EngineError, EngineUnavailableError, IntegrityError
from compiler.records import Plan

SHOWN = 4


class Loaded(NamedTuple):
    """An engine, with what has to outlive it."""

    plan: Plan
    trt: TensorRT
    runtime: objects.Runtime
    engine: objects.ICudaEngine


def load(model: Path, plan: Plan, flavor: Flavor, cuda: Cuda) -> Loaded:
    """Read, verify and deserialize a plan of this model; a stripped one gets its weights back.

    Raises:
        IntegrityError: the plan, or the model of a stripped one, is not the file that was built. Nothing of TensorRT or
            CUDA was touched.
        EngineUnavailableError: there is no driver or no GPU.
        EngineError: TensorRT refuses the plan, or the weights, or the plan is another than its record says.
    """
    content = plans.read_verified(plan, model.parent)
    if (narrow := model.parent / PLANS / model.name).is_file():
        model = narrow  # what the plan was built from, in formats that ONNX Runtime cannot read
    if plan.stripped:
        _check_model(model, plan)
    if not driver.devices():
        raise EngineUnavailableError("a plan needs a GPU", found=driver.why_none())
    cuda.use()
    trt = flavor.module
    subject = f"{plan.file}: {flavor.name} {flavor.version} cannot load this plan"
    with messages() as said:
        runtime = trt.Runtime(logger(flavor))
        if "VERSION_COMPATIBLE" in plan.flags:
            runtime.engine_host_code_allowed = True  # such a plan brings a part of its own runtime
        engine = runtime.deserialize_cuda_engine(content)
        if engine is None:
            raise EngineError(subject, found=_found(said), action="build it again on this machine")
        if plan.stripped:
            _refit(flavor, engine, model, subject, said)
    _check_signature(trt, engine, plan, subject)
    if "WEIGHT_STREAMING" in plan.flags:
        engine.weight_streaming_budget_v2 = engine.get_weight_streaming_automatic_budget()
    return Loaded(plan, trt, runtime, engine)


def _check_model(model: Path, plan: Plan) -> None:
    weights = model.with_name(f"{model.name}.data")
    found = plans.model_digest(model, (weights.name,) if weights.exists() else ())
    if found != plan.model_sha256:
        raise IntegrityError(
            f"{model}: not the model that {plan.file} was built from",
            found=found,
            expected=plan.model_sha256,
            action="copy the bundle again, or rebuild it",
        )


def _refit(flavor: Flavor, engine: objects.ICudaEngine, model: Path, subject: str, said: list[Message]) -> None:
    """Put the model's weights into a stripped engine."""
    trt = flavor.module
    refitter = trt.Refitter(engine, logger(flavor))
    parser = trt.OnnxParserRefitter(refitter, logger(flavor))
    fits = "the weights of the model fit in"
    if not parser.refit_from_file(str(model)):
        errors = [parser.get_error(index).desc() for index in range(min(parser.num_errors, SHOWN))]
        raise EngineError(subject, found="; ".join(errors) or _found(said), expected=fits)
    if missing := refitter.get_missing_weights():
        raise EngineError(subject, found=f"no weights for {', '.join(missing[:SHOWN])}", expected=fits)
    if not refitter.refit_cuda_engine():
        raise EngineError(subject, found=_found(said), expected=fits)


def _check_signature(trt: TensorRT, engine: objects.ICudaEngine, plan: Plan, subject: str) -> None:
    """Memory is given by the record: it must be the engine's."""
    names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
    found = {name: _type(engine, name) for name in names}
    expected = {tensor.name: tensor.dtype for tensor in (*plan.inputs, *plan.outputs)}
    if found != expected or len(plan.shapes) != engine.num_optimization_profiles:
        raise EngineError(
            subject,
            found=f"{_listed(found)}; {engine.num_optimization_profiles} profiles",
            expected=f"{_listed(expected)}; {len(plan.shapes)} profiles, as its record says",
            action="rebuild the bundle",
        )
    if on_host := [name for name in names if engine.get_tensor_location(name) == trt.TensorLocation.HOST]:
        raise EngineError(subject, found=f"{', '.join(on_host)} lie on the host", expected="all tensors on the device")


def _type(engine: objects.ICudaEngine, name: str) -> str:
    dtype = engine.get_tensor_dtype(name).name
    return TYPES.get(dtype, dtype.lower())


def _listed(types: dict[str, str]) -> str:
    return ", ".join(f"{name} {dtype}" for name, dtype in types.items())


def _found(said: list[Message]) -> str:
    """The errors that TensorRT logged."""
    errors = [message.text for message in said if message.severity != "WARNING"]
    return "; ".join(errors[:SHOWN]) or "it gives no reason"
