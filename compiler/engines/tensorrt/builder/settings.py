"""Builder settings: from a profile's options to TensorRT's flags, and what a flavor cannot do.

Flags are looked up and recorded by name: their numbers differ between versions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from compiler.engines.plans.shapes import InputShapes
from compiler.engines.tensorrt import objects
from compiler.engines.tensorrt.api import RtxTensorRT, TensorRT
from compiler.engines.tensorrt.flavors import Flavor
from compiler.errors import EngineError, EngineUnavailableError
from compiler.records import PlanOptions

HARDWARE: dict[str, str] = {
    "ampere-plus": "AMPERE_PLUS",
    "same-compute-capability": "SAME_COMPUTE_CAPABILITY",
}
TURING = "sm75"


def flags(options: PlanOptions) -> tuple[str, ...]:
    """Names of the builder flags that the options ask for, sorted."""
    asked = {
        "VERSION_COMPATIBLE": options.version_compatible,
        "WEIGHT_STREAMING": options.weight_streaming,
        "STRIP_PLAN": options.strip,
        "REFIT_IDENTICAL": options.strip,
    }
    return tuple(sorted(name for name, wanted in asked.items() if wanted))


def check(options: PlanOptions, flavor: Flavor, target: str, *, driver: bool) -> None:
    """Nothing where the flavor can build for the target as the options ask.

    Raises:
        EngineUnavailableError: names the option, why it cannot be had, and where it can.
    """
    reasons = []
    if options.hardware_compatible == "ampere-plus" and target == TURING:
        reasons.append(('hardware_compatible = "ampere-plus"', f"{target} is older than Ampere"))
    if flavor.name == "tensorrt-rtx":
        if options.version_compatible:
            reasons.append(("version_compatible", "its plans are read by the release that built them only"))
        if options.hardware_compatible != "none":
            reasons.append(("hardware_compatible", "it builds a plan for each target instead"))
        if options.strip and not driver:
            reasons.append(("strip", "it leaves the weights out only where a driver and a GPU are present"))
    if reasons:
        option, reason = reasons[0]
        raise EngineUnavailableError(
            f"{flavor.name} {flavor.version} cannot build for {target} with {option}",
            found=reason,
            action="leave the option out, or build with tensorrt on a machine with that GPU",
        )


def configure(
    flavor: Flavor, builder: objects.Builder, options: PlanOptions, target: str, profiles: Sequence[InputShapes]
) -> objects.IBuilderConfig:
    """A builder configuration: flags, limits, the target, and an optimization profile for each bucket.

    TF32 is off: what the graph calls float32 is computed in float32.

    Raises:
        EngineError: TensorRT refuses a profile or the target.
    """
    trt = flavor.module
    config = builder.create_builder_config()
    config.clear_flag(trt.BuilderFlag.TF32)
    for name in flags(options):
        config.set_flag(_member(trt.BuilderFlag, name, flavor))
    config.builder_optimization_level = options.optimization_level
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    if options.workspace_bytes:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace_bytes)
    if options.hardware_compatible != "none":
        level = _member(trt.HardwareCompatibilityLevel, HARDWARE[options.hardware_compatible], flavor)
        config.hardware_compatibility_level = level
    if flavor.name == "tensorrt-rtx":
        _aim(flavor, cast("objects.RtxBuilderConfig", config), target)
    for number, shapes in enumerate(profiles, 1):
        profile = builder.create_optimization_profile()
        for name, (low, usual, high) in shapes.items():
            profile.set_shape(name, low, usual, high)
        if not profile or config.add_optimization_profile(profile) < 0:
            raise EngineError(
                f"{flavor.name} refuses bucket {number} of shapes",
                found=", ".join(f"{name} {sizes}" for name, sizes in shapes.items()),
                action="correct the shapes of the profile",
            )
    return config


def set_flags(trt: TensorRT, config: objects.IBuilderConfig) -> tuple[str, ...]:
    """Names of the flags that are set, sorted; those that are on by default are among them."""
    members = trt.BuilderFlag.__members__
    return tuple(sorted(name for name, flag in members.items() if config.get_flag(flag)))


def _aim(flavor: Flavor, config: objects.RtxBuilderConfig, target: str) -> None:
    """Without a target RTX would take number formats that some of the GPUs it claims lack."""
    trt = cast("RtxTensorRT", flavor.module)
    config.num_compute_capabilities = 1
    if not config.set_compute_capability(_member(trt.ComputeCapability, target.upper(), flavor), 0):
        raise EngineUnavailableError(
            f"{flavor.name} {flavor.version} does not build for {target}", action="choose another target"
        )


def _member(enumeration: type[objects.Enumeration], name: str, flavor: Flavor) -> objects.Enumerator:
    try:
        return enumeration.__members__[name]
    except KeyError as error:
        raise EngineUnavailableError(
            f"{flavor.name} {flavor.version} has no {name}",
            expected=", ".join(enumeration.__members__),
            action="leave the option out, or install another release",
        ) from error
