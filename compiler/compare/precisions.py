"""What each module's weights are stored as: from the graph where it is at hand, else as far as the placement tells."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from compiler.engines import known
from compiler.engines.onnx_file import PRODUCTS
from compiler.errors import EngineError, IntegrityError
from compiler.reading import foreign
from compiler.records import Certificate, Manifest, graph_files

# From least to most precise; what is not here is not ranked.
ORDER = ("int2", "int4", "int8", "float8", "float16", "bfloat16", "float32", "float64")


def module_precisions(folder: Path, manifest: Manifest) -> dict[str, str]:
    """Module path to what its weight is stored as ("float32", "int8", "int4", ...); {} without the build extra.

    Raises:
        IntegrityError: a graph cannot be read.
    """
    if importlib.util.find_spec("onnx") is None:
        return {}
    reads = known(manifest.engine)
    found: dict[str, str] = {}
    with foreign(IntegrityError, f"{folder}: a graph is not what was built"):
        for name in graph_files(manifest):
            try:
                found |= {path: _word(precision) for path, precision in reads.precisions(folder / name).items()}
            except EngineError as error:
                raise IntegrityError(error.subject, found=error.found, expected=error.expected) from error
    return dict(sorted(found.items()))


def placed_precisions(certificate: Certificate) -> dict[str, str]:
    """The same for the few modules that the placement names."""
    return {
        module: _word(row.precision)
        for row in certificate.placement
        if row.operator in PRODUCTS
        for module in row.modules
    }


def lowered(baseline: dict[str, str], candidate: dict[str, str]) -> list[str]:
    """Modules of both whose weights the candidate stores less precisely."""
    return [
        module
        for module, before in baseline.items()
        if (after := candidate.get(module)) in ORDER and before in ORDER and ORDER.index(after) < ORDER.index(before)
    ]


def _word(precision: str) -> str:
    """The least precise of a module's products, without what it computes in."""
    words = [word.removesuffix(" weights") for word in precision.split(", ")]
    return min(words, key=lambda word: ORDER.index(word) if word in ORDER else len(ORDER))
