"""Plans on disk: written whole or not at all, and read only after their digest was compared.

A plan is executable code. Nothing but `read_verified` may open one, and nothing may deserialize other bytes than those
it returns.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from pathlib import Path
from typing import Any

import msgspec

from compiler.bundle import PLANS
from compiler.errors import EngineError, IntegrityError, StorageError
from compiler.inventory import is_within
from compiler.records import Plan
from compiler.storage import advice, digest, told

# What a plan begins with, where it was seen; it is not documented. At SIZE_AT lies the file's size, uint64.
MAGIC: dict[str, bytes] = {"tensorrt-rtx": b"vtrt"}
HEADER_BYTES = 64
SIZE_AT = slice(16, 24)


def file_name(target: str, graph: str = "") -> str:
    """`plans/sm89.plan`, or `plans/sm89.encoder.plan`, relative to the bundle."""
    return f"{PLANS}/{target}{f'.{graph}' if graph else ''}.plan"


def read_verified(plan: Plan, folder: Path) -> bytes:
    """The plan's bytes, read once, after their digest was found to be the record's.

    Args:
        folder: the bundle's, or the engine's.

    Raises:
        IntegrityError: the file is missing, lies elsewhere, or is not the one that was built.
    """
    path = folder / plan.file
    if not is_within(plan.file):
        raise IntegrityError(
            f"{folder}: the file name of a plan leads elsewhere",
            found=repr(plan.file),
            expected="a path within the bundle",
            action="do not use this bundle",
        )
    try:
        size = path.stat().st_size
        content = path.read_bytes() if size == plan.size else b""
    except OSError as error:
        raise IntegrityError(
            f"{path}: cannot be read", found=error.strerror or str(error), action="copy the bundle again, or rebuild it"
        ) from error
    found = hashlib.sha256(content).hexdigest()
    if size != plan.size or found != plan.sha256:
        raise IntegrityError(
            f"{path}: not the plan that was built",
            found=f"{size} bytes" if size != plan.size else f"sha256 {found}",
            expected=f"{plan.size} bytes, sha256 {plan.sha256}",
            action="do not run it; copy the bundle again, or rebuild it",
        )
    return content


def write(content: memoryview, path: Path) -> str:
    """Write a plan beside `path` and move it there; the SHA-256 of what was written.

    Raises:
        StorageError: the disk is full or not writable; nothing is left behind.
    """
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with partial.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(
            f"{path}: cannot be written",
            found=told(error, path),
            action=f"{advice(error.errno, path)}; nothing was left behind",
        ) from error
    return hashlib.sha256(content).hexdigest()


def sweep(path: Path) -> None:
    """Remove what a process that was killed had written of a plan."""
    for partial in path.parent.glob(f".{path.name}.*.partial"):
        partial.unlink(missing_ok=True)


def check_header(content: memoryview, flavor: str, subject: str) -> None:
    """Nothing where the plan looks whole; a flavor whose header is not known is let through.

    This finds a plan that was cut short. It says nothing about where the plan can run.

    Raises:
        EngineError: the header names another size, or is not that of a plan.
    """
    if flavor not in MAGIC:
        return
    header = bytes(content[:HEADER_BYTES])
    size = int.from_bytes(header[SIZE_AT], "little")
    if len(header) < HEADER_BYTES or not header.startswith(MAGIC[flavor]) or size != len(content):
        raise EngineError(
            f"{subject}: {flavor} gave something that is not a whole plan",
            found=f"{len(content)} bytes that begin with {header[:4]!r}, size in the header {size}",
            expected=f"{MAGIC[flavor]!r} and equal sizes",
            action="build again; if it stays so, report it with the version of TensorRT",
        )


def model_digest(model: Path, weights: tuple[str, ...]) -> str:
    """SHA-256 over the digests of an ONNX file and of its external data, which lie beside it."""
    total = hashlib.sha256(digest(model).encode())
    for name in weights:
        total.update(f"\n{name} {digest(model.parent / name)}".encode())
    return total.hexdigest()


DECIDING = (
    "target", "graph", "flavor", "version", "flags", "optimization_level", "hardware_compatible", "stripped", "shapes",
    "model_sha256",
)  # fmt: skip


def key(plan: Plan, **others: Any) -> str:
    """SHA-256 over everything that decided a plan: its own fields, and `others` that it does not hold."""
    parts = {name: getattr(plan, name) for name in DECIDING} | others
    return hashlib.sha256(msgspec.json.encode(parts, order="deterministic")).hexdigest()
