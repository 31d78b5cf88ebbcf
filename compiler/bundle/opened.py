"""A bundle as it is found: what it says of itself, and whether it is what was sealed."""

from __future__ import annotations

import hashlib
import os
import re
import sys
from pathlib import Path

from compiler import inventory, records
from compiler.bundle.parts import CERTIFICATE, DIGEST, MANIFEST, UNLISTED
from compiler.errors import CompilerError, IntegrityError, UsageError
from compiler.folders import not_a_bundle
from compiler.reading import read_bytes
from compiler.records import SCHEMA_VERSION, Certificate, Manifest, graph_files
from compiler.storage import recover

_SHA256 = re.compile(r"[0-9a-f]{64}")


def digest_of(folder: Path) -> str:
    """What names a bundle with all its files: "sha256:" and the SHA-256 of its manifest, in hex.

    Raises:
        UsageError: the folder is no bundle.
        IntegrityError: there is no manifest.
    """
    return "sha256:" + hashlib.sha256(_manifest(folder)).hexdigest()


def read(folder: Path, digest: str | None = None) -> Manifest:
    """The manifest, without a look at the other files.

    Args:
        folder: the bundle.
        digest: the bundle's, as `digest_of` gives it, from a source that is trusted; None takes what is there.

    Raises:
        IntegrityError: it is gone, it is not one this version can trust, or the bundle has another digest.
        UsageError: the folder is no bundle, or `digest` is none.
    """
    content = _manifest(folder)
    _require_digest(folder, content, digest)
    manifest = records.parse(content, Manifest, str(folder / MANIFEST))
    if manifest.schema_version != SCHEMA_VERSION:
        raise IntegrityError(
            f"{folder / MANIFEST}: another version of the format",
            found=str(manifest.schema_version),
            expected=str(SCHEMA_VERSION),
            action="rebuild the bundle, or use the release that built it",
        )
    refuse_hostile(folder, manifest)
    return manifest


def verify(folder: Path, digest: str | None = None) -> Manifest:
    """Compare every file with the manifest. Arguments as in `read`.

    Raises:
        IntegrityError: names all files that were changed, are missing or were added; or as `read`.
    """
    manifest = read(folder, digest)
    if (folder / "files.json").exists() and not (folder / CERTIFICATE).exists():  # what the cache keeps of a build
        raise not_a_bundle(folder)
    compare(folder, manifest)
    return manifest


def compare(folder: Path, manifest: Manifest) -> None:
    """The same with a manifest that was read.

    Raises:
        IntegrityError: names all files that were changed, are missing or were added.
    """
    if found := inventory.differences(folder, manifest.files, leave_out=UNLISTED):
        raise IntegrityError(
            f"{folder}: not what was built",
            found=found,
            expected=f"the {len(manifest.files)} files that {MANIFEST} lists, unchanged",
            action="copy the bundle again, or rebuild it",
        )


def certificate(folder: Path, manifest: Manifest) -> Certificate:
    """The certificate that a bundle was sealed with.

    Raises:
        IntegrityError: it was changed or is missing.
    """
    return records.parse(Files(folder, manifest).read(CERTIFICATE), Certificate, str(folder / CERTIFICATE))


def sealed(path: Path, raises: type[CompilerError]) -> bytes:
    """The content of a file that a user named; if it lies in a bundle, it must be one that the bundle was sealed with.

    Raises:
        IntegrityError: it is in a bundle, and another than was sealed.
        CompilerError: of the kind `raises`, where it cannot be read.
    """
    if (path.parent / MANIFEST).exists():
        return Files(path.parent, read(path.parent)).read(path.name)
    return read_bytes(path, raises)


class Files:
    """The files of a bundle, for whoever reads one later than the bundle was verified.

    What is given are the bytes whose digest was compared with the manifest in memory, so that a file that was exchanged
    meanwhile is refused. `compared=False` gives what lies there, for a bundle that was loaded without verification.
    """

    def __init__(self, folder: Path, manifest: Manifest, *, compared: bool = True) -> None:
        self.folder = folder
        self._listed = manifest.files
        self._compared = compared

    def __contains__(self, name: str) -> bool:
        return name in self._listed if self._compared else (self.folder / name).is_file()

    def read(self, name: str) -> bytes:
        """A file's content.

        Raises:
            IntegrityError: it is not one of the bundle's, is not what was built, or cannot be read.
        """
        if not self._compared:
            return read_bytes(self.folder / name, IntegrityError, largest=sys.maxsize)
        if name not in self._listed:
            raise IntegrityError(
                f"{self.folder / name}: not one of the bundle's files", expected=f"one that {MANIFEST} lists"
            )
        return inventory.read(self.folder / name, self._listed[name])


def _manifest(folder: Path) -> bytes:
    recover(folder)
    path = folder / MANIFEST
    if not os.path.exists(path):
        if not any(os.path.exists(folder / name) for name in (DIGEST, CERTIFICATE)):
            raise not_a_bundle(folder)
        raise IntegrityError(
            f"{path}: no such file",
            expected="the manifest that the build wrote",
            action="copy the bundle again, or rebuild it",
        )
    return read_bytes(path, IntegrityError)


def _require_digest(folder: Path, content: bytes, digest: str | None) -> None:
    """The manifest is the one that was sealed, and the one that the caller wants."""
    found = hashlib.sha256(content).hexdigest()
    if digest is not None:
        wanted = str(digest).removeprefix("sha256:")
        if not _SHA256.fullmatch(wanted):
            raise UsageError(
                "a bundle's digest", found=repr(digest)[:80], expected='"sha256:" and 64 hexadecimal digits'
            )
        if wanted != found:
            raise IntegrityError(
                f"{folder}: another bundle than was asked for",
                found=f"sha256:{found}",
                expected=f"sha256:{wanted}",
                action="do not use it; get the bundle again from where the digest came from",
            )
    path = folder / DIGEST
    stated = read_bytes(path, IntegrityError).decode(errors="replace") if path.exists() else "no such file"
    if stated != f"{found}  {MANIFEST}\n":
        raise IntegrityError(
            f"{folder / MANIFEST}: not what was built",
            found=f"sha256 {found}",
            expected=f"{DIGEST}: {stated.strip()[:80]}",
            action="copy the bundle again, or rebuild it",
        )


def refuse_hostile(folder: Path, manifest: Manifest) -> None:
    """Every path in a manifest is one within the bundle, and one that has a digest; a plan says all of its inputs."""
    named = [
        *graph_files(manifest),
        *(adapter.file for adapter in manifest.adapters),
        *(plan.file for plan in manifest.plans),
    ]
    for name in (*manifest.files, *named):
        if not inventory.is_within(name):
            raise IntegrityError(
                f"{folder / MANIFEST}: a file name leads elsewhere",
                found=repr(name),
                expected="a path within the bundle",
                action="do not use this bundle",
            )
    for name in named:
        if name not in manifest.files:
            raise IntegrityError(
                f"{folder / MANIFEST}: it names a file that is not among its files",
                found=name,
                expected=", ".join(manifest.files),
                action="rebuild the bundle",
            )
    for plan in manifest.plans:
        for name, rank in ((each.name, len(each.shape)) for each in plan.inputs):
            ranks = {len(shape) for profile in plan.shapes for shape in profile.get(name, ((),))}
            if ranks != {rank}:
                raise IntegrityError(
                    f"{folder / MANIFEST}: a plan without the shapes of an input",
                    found=f"{plan.file}: {name}",
                    expected=f"the smallest, usual and largest shape, of {rank} dims each, in every profile",
                    action="rebuild the bundle",
                )
