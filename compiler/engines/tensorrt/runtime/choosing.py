"""What answers on this machine: the plan that was built for its GPU, or ONNX Runtime, and why."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, cast

from compiler import driver
from compiler.engines import Engine, Session
from compiler.engines.onnxruntime import cpu as onnxruntime_cpu
from compiler.engines.onnxruntime import cuda as onnxruntime_cuda
from compiler.engines.plans.capabilities import target_of
from compiler.engines.tensorrt import flavors
from compiler.engines.tensorrt.flavors import Flavor
from compiler.records import EngineOptions, Plan, Serving

CUDA = "cuda.bindings.runtime"
AMPERE = (8, 0)
NEXT_READS = (10, 11)  # the one change of major version that a version-compatible plan survives


class Choice(NamedTuple):
    """`plan` is None where ONNX Runtime answers."""

    serving: Serving
    plan: Plan | None


class Fit(NamedTuple):
    """A plan that can run here, with its flavor."""

    plan: Plan
    flavor: Flavor
    reason: str


def choose(options: EngineOptions, plans: Sequence[Plan]) -> Choice:
    """The plan that fits the GPU of `options.device`, or ONNX Runtime; `serving.reason` says why in one sentence."""
    fit = _fit(options.device, plans)
    if isinstance(fit, Fit):
        return Choice(Serving(engine=fit.flavor.name, version=fit.flavor.version, reason=fit.reason), fit.plan)
    engine, where = _runtime()
    reason = f"{fit}; ONNX Runtime runs the model itself{where}"
    return Choice(Serving(engine=engine.name, version=engine.version(), reason=reason, fallback=True), None)


def open_chosen(model: Path, options: EngineOptions, plans: Sequence[Plan]) -> Session:
    """What `choose` names, opened. Plans lie relative to the model's folder.

    Raises:
        IntegrityError: the plan is not the file that was built.
        EngineError: the plan or the model cannot be opened.
    """
    fit = _fit(options.device, plans)
    if not isinstance(fit, Fit):
        return _runtime()[0].open(model, options)
    from compiler.engines.tensorrt.runtime.session import open_plan

    return open_plan(model, fit.plan, options, fit.flavor)


def _fit(device: int, plans: Sequence[Plan]) -> Fit | str:
    """The plan to open here, or why there is none."""
    if not plans:
        return "there are no plans for this graph"
    gpus = driver.devices()
    if not gpus:
        return driver.why_none()
    if device >= len(gpus):
        return f"there is no GPU {device} here, they are numbered 0 to {len(gpus) - 1}"
    target = target_of(gpus[device].compute_capability)
    fitting = sorted((plan for plan in plans if _serves(plan, target)), key=lambda plan: plan.target != target)
    if not fitting:
        return f"the GPU is {target}, the bundle has plans for {_listed([plan.target for plan in plans])}"
    if reason := why_no_bindings():
        return reason
    reasons = []
    for plan in fitting:
        flavor = flavors.probe(plan.flavor)
        if isinstance(flavor, str):
            reasons.append(f"the plan for {plan.target} needs {flavor}")
        elif not _reads(flavor.version, plan):
            built = f"{plan.flavor} {plan.version}"
            reasons.append(f"the plan for {plan.target} is of {built}; {flavor.version}, which is here, cannot read it")
        else:
            same = "and so is the plan" if plan.target == target else f"which the plan for {plan.target} serves too"
            return Fit(plan, flavor, f"the GPU is {target}, {same}")
    return "; ".join(reasons)


def _serves(plan: Plan, target: str) -> bool:
    """Whether the plan was built for this kind of GPU, or for others besides its own that include it."""
    return plan.target == target or (plan.hardware_compatible == "ampere-plus" and _capability(target) >= AMPERE)


def _capability(target: str) -> tuple[int, int]:
    """ "sm120" -> (12, 0)."""
    digits = target.removeprefix("sm")
    return int(digits[:-1]), int(digits[-1])


def _reads(here: str, plan: Plan) -> bool:
    """Whether a flavor of version `here` can read the plan: the one that built it, or a later one where it may."""
    if here == plan.version:
        return True
    if plan.flavor != "tensorrt" or "VERSION_COMPATIBLE" not in plan.flags:
        return False
    now, then = (tuple(map(int, re.findall(r"[0-9]{1,9}", version))) for version in (here, plan.version))
    return bool(then) and now > then and (now[0] == then[0] or (then[0], now[0]) == NEXT_READS)


def why_no_bindings() -> str | None:
    """None where device memory can be had, otherwise what is missing and the command that installs it."""
    try:
        there = importlib.util.find_spec(CUDA) is not None
    except ModuleNotFoundError:
        there = False
    return (
        None
        if there
        else "plans need cuda-bindings, which is not installed; install it with: pip install cuda-bindings"
    )


def _runtime() -> tuple[Engine, str]:
    """ONNX Runtime on the GPU where it can, otherwise on the CPU; and what to add to the reason."""
    why = onnxruntime_cuda.why_unavailable()
    if why is None:
        return cast("Engine", onnxruntime_cuda), " on the GPU"
    return cast("Engine", onnxruntime_cpu), f" on the CPU ({why})" if driver.devices() else ""


def _listed(targets: Sequence[str]) -> str:
    """ "sm89 and sm120", each named once."""
    *most, last = dict.fromkeys(targets)
    return f"{', '.join(most)} and {last}" if most else last
