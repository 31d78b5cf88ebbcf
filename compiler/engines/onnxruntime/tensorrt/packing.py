"""The engines of one graph as one file: what ONNX Runtime left in a folder, uncompressed, in a fixed order.

ONNX Runtime finds an engine by names in the graph and by versions, not by the weights in it: the engines of another
model of the same shape would be taken. So each graph has its own file, whose digest is in the bundle's manifest, and
ONNX Runtime reads a copy of the verified bytes that nobody else can write.
"""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

from compiler.bundle import PLANS
from compiler.errors import IntegrityError
from compiler.reading import foreign

SUFFIXES = (".engine", ".profile")


def file_name(target: str, graph: str = "") -> str:
    """`plans/sm89.onnxruntime.zip`, or `plans/sm89.encoder.onnxruntime.zip`, relative to the bundle."""
    return f"{PLANS}/{target}{f'.{graph}' if graph else ''}.onnxruntime.zip"


def pack(folder: Path) -> bytes:
    """The engines in a folder, with what ONNX Runtime needs to know them again."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_STORED) as archive:
        for path in sorted(folder.iterdir()):
            if path.suffix in SUFFIXES:
                archive.writestr(zipfile.ZipInfo(path.name), path.read_bytes())
    return content.getvalue()


def unpack(content: bytes, folder: Path) -> None:
    """Put them back.

    Raises:
        IntegrityError: not what `pack` makes.
    """
    with (
        foreign(IntegrityError, "the engines of a bundle cannot be read; rebuild the bundle"),
        zipfile.ZipFile(io.BytesIO(content)) as archive,
    ):
        for entry in archive.infolist():
            name = Path(entry.filename)
            stored = entry.compress_type == zipfile.ZIP_STORED  # so that it is no larger than the archive
            if name.name != entry.filename or name.suffix not in SUFFIXES or not stored:
                raise IntegrityError(
                    "the engines of a bundle hold a file that does not belong there",
                    found=repr(entry.filename),
                    expected=f"files that end in {' or '.join(SUFFIXES)}, uncompressed",
                    action="do not use this bundle",
                )
            (folder / name).write_bytes(archive.read(entry))
