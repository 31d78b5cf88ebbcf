"""What this machine is, as far as it decides which profile fits and how fast it runs.

Cores and memory are what this process may use: CPU affinity and the limits of its container are respected.
"""

from __future__ import annotations

import math
import os
import platform
import resource
import subprocess
from collections.abc import Iterable
from pathlib import Path

import psutil

from compiler import driver
from compiler.records import Gpu, Machine

# Features that choose a kernel. Linux's words for them; a profile's `requires.features` uses the same.
FEATURES: tuple[str, ...] = (
    "avx",
    "avx2",
    "fma",
    "f16c",
    "avx_vnni",
    "avx512f",
    "avx512bw",
    "avx512dq",
    "avx512vl",
    "avx512_vnni",
    "avx512_bf16",
    "avx512_fp16",
    "amx_tile",
    "amx_int8",
    "amx_bf16",
    "asimd",
    "asimdhp",
    "asimddp",
    "i8mm",
    "bf16",
    "sve",
    "sve2",
)

# Those by which ONNX Runtime and the like choose among kernels that round differently.
KERNELS = frozenset(FEATURES) - {"avx", "fma", "f16c", "avx512dq", "avx512vl", "amx_tile"}

# x86 instructions that add four 8-bit products in 32 bits.
VNNI: frozenset[str] = frozenset({"avx_vnni", "avx512_vnni"})

ARCHITECTURES: dict[str, str] = {"amd64": "x86_64", "x86_64": "x86_64", "arm64": "aarch64", "aarch64": "aarch64"}

DARWIN_FEATURES: dict[str, str] = {
    "hw.optional.AdvSIMD": "asimd",
    "hw.optional.arm.FEAT_FP16": "asimdhp",
    "hw.optional.arm.FEAT_DotProd": "asimddp",
    "hw.optional.arm.FEAT_I8MM": "i8mm",
    "hw.optional.arm.FEAT_BF16": "bf16",
}

CGROUP = Path("/sys/fs/cgroup")


def detect() -> Machine:
    """The facts about this machine, read from the system in a few milliseconds; GPUs are asked for once a process."""
    cpu, features = _darwin_cpu() if platform.system() == "Darwin" else _linux_cpu()
    logical = logical_cores()
    return Machine(
        cpu=cpu or platform.processor() or "unknown",
        architecture=ARCHITECTURES.get(platform.machine().lower(), platform.machine()),
        features=tuple(feature for feature in FEATURES if feature in features),
        physical_cores=threads(),
        logical_cores=logical,
        memory_bytes=_memory_bytes(),
        system=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        gpus=tuple(Gpu(**device._asdict()) for device in driver.devices()),
    )


def logical_cores() -> int:
    """Cores that this process may use at once."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else psutil.cpu_count() or 1
    quota, _, period = _cgroup("cpu.max").partition(" ")
    return min(cores, math.ceil(int(quota) / int(period))) if quota.isdigit() and period.isdigit() else cores


def threads(asked: int = 0) -> int:
    """Threads to compute with: so many, or one for every physical core for 0, but never more than logical cores."""
    return min(asked or psutil.cpu_count(logical=False) or logical_cores(), logical_cores())


def available_memory() -> int:
    """Bytes that this process may still take, of the machine's memory, its container's and its own limit."""
    found: int = psutil.virtual_memory().available
    if (limit := _cgroup("memory.max")).isdigit() and (used := _cgroup("memory.current")).isdigit():
        reclaimable = sum(
            int(line.split()[1])
            for line in _cgroup("memory.stat").splitlines()
            if line.startswith(("active_file ", "inactive_file "))
        )
        found = min(found, int(limit) - int(used) + reclaimable)
    own, _ = resource.getrlimit(resource.RLIMIT_AS)
    if own != resource.RLIM_INFINITY:
        found = min(found, own - psutil.Process().memory_info().vms)
    return max(0, found)


def kind(machine: Machine) -> str:
    """The kind of processor, as far as answers depend on it: "x86_64 with avx2, avx_vnni"."""
    features = ", ".join(feature for feature in machine.features if feature in KERNELS)
    return f"{machine.architecture} with {features}" if features else machine.architecture


def saturates(architecture: str, features: Iterable[str]) -> bool:
    """Whether a processor's 8-bit products can overflow: x86 without VNNI adds two of them in 16 bits.

    vpmaddubsw gives a0 b0 + a1 b1 for unsigned a and signed b; 2 * 255 * 127 does not fit, 2 * 255 * 64 does.
    """
    return architecture == "x86_64" and VNNI.isdisjoint(features)


def parse_cpuinfo(text: str) -> tuple[str, frozenset[str]]:
    """Model name and feature flags of the first processor in the text of /proc/cpuinfo, x86 or Arm."""
    first = text.split("\n\n", 1)[0]
    entries = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in first.splitlines())}
    flags = frozenset((entries.get("flags") or entries.get("Features", "")).split())
    if name := entries.get("model name"):
        return name, flags
    if part := entries.get("CPU part"):
        return f"Arm implementer {entries.get('CPU implementer', '?')} part {part}", flags
    return "", flags


def parse_sysctl(text: str) -> tuple[str, frozenset[str]]:
    """Model name and features from the output of macOS's `sysctl`, in Linux's words."""
    entries = dict(line.split(": ", 1) for line in text.splitlines() if ": " in line)
    features = frozenset(word for key, word in DARWIN_FEATURES.items() if entries.get(key) == "1")
    return entries.get("machdep.cpu.brand_string", ""), features


def _linux_cpu() -> tuple[str, frozenset[str]]:
    cpuinfo = Path("/proc/cpuinfo")
    return parse_cpuinfo(cpuinfo.read_text()) if cpuinfo.exists() else ("", frozenset())


def _darwin_cpu() -> tuple[str, frozenset[str]]:
    command = ["sysctl", "machdep.cpu.brand_string", "hw.optional"]
    return parse_sysctl(subprocess.run(command, capture_output=True, text=True, check=False).stdout)


def _memory_bytes() -> int:
    total: int = psutil.virtual_memory().total
    limit = _cgroup("memory.max")
    return min(total, int(limit)) if limit.isdigit() else total


def _cgroup(name: str) -> str:
    """A limit of this container (cgroup v2), or an empty string."""
    path = CGROUP / name
    return path.read_text().strip() if path.is_file() else ""
