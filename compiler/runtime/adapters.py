"""The adapters of a bundle, each read from its file when it is first asked for, and kept."""

from __future__ import annotations

import io
import math
import zipfile
from pathlib import Path

import numpy as np

from compiler.bundle import Files
from compiler.engines import Feeds, Session
from compiler.engines.adapted import AdaptedSession
from compiler.errors import InputError, IntegrityError, UsageError, did_you_mean
from compiler.reading import foreign
from compiler.records import Adapter, Manifest, Tensor

_HEADER = 1000  # bytes of an array's header, which is a Python literal


class Adapters:
    """Chooses adapters by name."""

    def __init__(self, files: Files, manifest: Manifest) -> None:
        self._files = files
        self._adapters = {adapter.name: adapter for adapter in manifest.adapters}
        self._inputs = manifest.adapter_inputs
        self._matrices: dict[str, Feeds] = {}

    def __call__(self, session: Session, name: str | None) -> Session:
        """The session with the adapter in effect; None is the base.

        Raises:
            UsageError: the bundle has no adapter of this name; lists those it has.
            InputError: it is no name.
            IntegrityError: the adapter's file is not what was built.
        """
        if name is None:
            return session
        if not isinstance(name, str):
            raise InputError("adapter", found=repr(name), expected="the name of one")
        if name not in self._adapters or not isinstance(session, AdaptedSession):
            raise UsageError(
                f'this bundle has no adapter "{name}"',
                expected=", ".join(self._adapters) or "none: it was built without named adapters",
                action=did_you_mean(name, self._adapters),
            )
        if name not in self._matrices:  # threads that race read equal ones
            self._matrices[name] = self._read(self._adapters[name])
        return session.with_matrices(self._matrices[name])

    def _read(self, adapter: Adapter) -> Feeds:
        path = self._files.folder / adapter.file
        content = self._files.read(adapter.file)
        with (
            foreign(IntegrityError, f"{path}: not an adapter's file; build it again"),
            zipfile.ZipFile(io.BytesIO(content)) as archive,
        ):
            return {tensor.name: _array(archive, path, tensor, adapter.rank) for tensor in self._inputs}


def _array(archive: zipfile.ZipFile, path: Path, tensor: Tensor, rank: int) -> np.ndarray:
    """One array of a .npz: nothing is unpacked before its name, dtype and shape, and its size, are those expected."""
    shape = tuple(rank if dim == "rank" else dim for dim in tensor.shape)
    found = "is missing"
    if f"{tensor.name}.npy" in archive.namelist():
        with archive.open(f"{tensor.name}.npy") as member:
            version = np.lib.format.read_magic(member)
            if version != (1, 0):
                raise ValueError(f"version {version} of numpy's format")
            present, by_column, dtype = np.lib.format.read_array_header_1_0(member, max_header_size=_HEADER)
            found = f"{dtype} {present}"
            if present == shape and dtype == tensor.dtype and not dtype.hasobject:
                size = math.prod(present) * dtype.itemsize
                data = member.read(size)
                if len(data) == size:
                    flat = np.frombuffer(bytearray(data), dtype)
                    return np.ascontiguousarray(flat.reshape(present, order="F" if by_column else "C"))
                found = f"{len(data)} bytes of {size}"
    raise IntegrityError(
        f"{path}: does not fit this bundle",
        found=f"{tensor.name} {found}",
        expected=f"{tensor.dtype} {shape}",
        action="build it again",
    )
