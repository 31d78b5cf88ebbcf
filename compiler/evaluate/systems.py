"""What is evaluated: a bundle, or the checkpoint it was made of in PyTorch, behind one and the same runtime."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from compiler import bundle
from compiler.engines import Decoding, Feeds, Session, open_bundle
from compiler.machine import threads
from compiler.measure.process import Worker
from compiler.measure.protocol import Spec
from compiler.measure.workloads import workloads_of
from compiler.records import CacheShape, Manifest, Tensor
from compiler.runtime.model import Model

if TYPE_CHECKING:
    from compiler.checkpoint.reference import Reference

READ = "cross_key_values.encoder_hidden_states"  # what the reference's encoder gives, under a name the runtime keeps
WEIGHTS = (".safetensors", ".json", ".txt", ".model", ".jinja")  # of a checkpoint, what PyTorch reads


@dataclass(frozen=True)
class Contestant:
    """One system, not yet loaded.

    Attributes:
        name: "bundle", "reference" or "against".
        folder: the bundle that the tokenizer and the settings come from.
        checkpoint: the folder PyTorch loads; None runs the bundle's own engine.
        digest: of the bundle's manifest, which holds every file's digest; or of the checkpoint.
    """

    name: str
    folder: Path
    manifest: Manifest
    location: str
    digest: str
    checkpoint: Path | None = None

    @property
    def threads(self) -> int:
        return threads(self.manifest.options.threads)

    @contextmanager
    def open(self) -> Iterator[tuple[Model, Session]]:
        """Load it: the runtime's model, and the session below it. Memory is given back at the end of the block."""
        manifest, session = self._session()
        with Model(self.folder, manifest, session) as model:
            yield model, session
        session.close()

    def peak_memory_bytes(self) -> int:
        """Most resident memory of a process that does nothing but load this system and run one round of it."""
        spec = Spec(
            runner="engine" if self.checkpoint is None else "pytorch",
            folder=str(self.checkpoint or self.folder),
            manifest=self.manifest,
            threads=self.threads,
        )
        with Worker(spec) as worker:
            worker.run(next(iter(workloads_of(self.manifest))))
            return worker.finish().peak_memory_bytes

    def disk_bytes(self) -> int:
        """Size of the files that the system consists of."""
        files = [path for path in (self.checkpoint or self.folder).rglob("*") if path.is_file()]
        return sum(path.stat().st_size for path in files if self.checkpoint is None or path.suffix in WEIGHTS)

    def _session(self) -> tuple[Manifest, Session]:
        manifest = self.manifest
        if self.checkpoint is None:
            return manifest, open_bundle(self.folder, manifest, manifest.options)
        from compiler.checkpoint.reference import Reference

        reference = Reference(self.checkpoint, manifest.task, threads=self.threads, merged=True)
        if manifest.encoder is None:
            return manifest, reference
        read = Tensor(name=READ, dtype="float32", shape=("batch", "encoder_sequence", "hidden"))
        return msgspec.structs.replace(manifest, inputs=(read,)), ReferencePair(reference)


class ReferencePair:
    """The reference of an encoder-decoder, as the runtime drives one: what the encoder gives is the decoder's."""

    def __init__(self, reference: Reference) -> None:
        self._reference = reference

    def encode(self, feeds: Feeds) -> Feeds:
        """See `engines.EncoderDecoderSession.encode`."""
        return {READ: self._reference.encode(feeds)["encoder_hidden_states"]}

    def run(self, feeds: Feeds) -> Feeds:
        """See `engines.Session.run`."""
        return self._reference.run(feeds)

    def decode(self, cache: CacheShape, batch: int, capacity: int, constants: Feeds | None = None) -> Decoding:
        """See `engines.Session.decode`."""
        named = {"encoder_hidden_states" if name == READ else name: value for name, value in (constants or {}).items()}
        return self._reference.decode(cache, batch, capacity, named)

    def close(self) -> None:
        """See `engines.Session.close`."""
        self._reference.close()


def bundle_at(folder: Path, name: str = "bundle") -> Contestant:
    """A bundle whose files were compared with their digests.

    Raises:
        IntegrityError: a file was changed, is missing or was added.
    """
    manifest = bundle.verify(folder)
    identity = hashlib.sha256((folder / bundle.MANIFEST).read_bytes()).hexdigest()
    return Contestant(name, folder, manifest, str(folder), identity)


def reference_of(made: Contestant, checkpoint: Path, location: str) -> Contestant:
    """The checkpoint that a bundle was made of, read from `checkpoint`, in PyTorch float32."""
    return Contestant("reference", made.folder, made.manifest, location, made.manifest.source.digest, checkpoint)
