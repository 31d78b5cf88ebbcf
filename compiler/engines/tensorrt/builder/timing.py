"""TensorRT's timing cache: how long kernels took on this GPU, kept from one build to the next.

It is valid for one GPU, one driver and one version of TensorRT; TensorRT itself refuses one of another configuration.
TensorRT for RTX has none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from compiler.engines.plans.files import write
from compiler.engines.tensorrt import objects
from compiler.engines.tensorrt.flavors import Flavor
from compiler.records import Gpu
from compiler.storage import cache_folder


def place(flavor: Flavor, gpu: Gpu) -> Path:
    """The file for a flavor's version and a GPU."""
    name = f"{flavor.name} {flavor.version} {gpu.name} {gpu.compute_capability} {gpu.driver}"
    return cache_folder() / "timing" / f"{re.sub(r'[^A-Za-z0-9.]+', '-', name).strip('-').lower()}.cache"


@contextmanager
def remembered(flavor: Flavor, gpu: Gpu | None, config: objects.IBuilderConfig) -> Iterator[None]:
    """Give the build in the block what earlier ones measured on this GPU, and keep what it adds."""
    if flavor.name != "tensorrt" or gpu is None:
        yield
        return
    file = place(flavor, gpu)
    attach(config, file)
    yield
    keep(config, file)


def attach(config: objects.IBuilderConfig, file: Path) -> None:
    """Let a build begin with the cache in `file`; with an empty one where there is none, or an unusable one."""
    known = file.read_bytes() if file.is_file() else b""
    if not config.set_timing_cache(config.create_timing_cache(known), False):
        config.set_timing_cache(config.create_timing_cache(b""), False)


def keep(config: objects.IBuilderConfig, file: Path) -> None:
    """Keep what a build measured, for the next one."""
    cache = config.get_timing_cache()
    if cache is not None:
        write(memoryview(cache.serialize()), file)
