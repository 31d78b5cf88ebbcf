"""The adapters of a bundle, each read from its file when it is first asked for, and kept."""

from __future__ import annotations

import io
import zipfile

import numpy as np

from compiler.bundle import Files
from compiler.engines import Feeds, Session
from compiler.engines.adapted import AdaptedSession
from compiler.errors import InputError, IntegrityError, UsageError, did_you_mean
from compiler.records import Adapter, Manifest


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
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as archive:
                found = {name: np.ascontiguousarray(archive[name]) for name in archive.files}
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise IntegrityError(f"{path}: not an adapter's file", found=str(error), action="build it again") from error
        for tensor in self._inputs:
            shape = tuple(adapter.rank if dim == "rank" else dim for dim in tensor.shape)
            array = found.get(tensor.name)
            if array is None or array.shape != shape or array.dtype != tensor.dtype:
                raise IntegrityError(
                    f"{path}: does not fit this bundle",
                    found=f"{tensor.name} {'is missing' if array is None else f'{array.dtype} {array.shape}'}",
                    expected=f"{tensor.dtype} {shape}",
                    action="build it again",
                )
        return {tensor.name: found[tensor.name] for tensor in self._inputs}
