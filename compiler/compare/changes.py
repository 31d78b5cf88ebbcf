"""What changed from the baseline to the candidate, as rows of one table; what is equal has no row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from compiler.compare.content import disk_bytes, fusions, operators
from compiler.compare.sides import Opened
from compiler.records import Certificate, Manifest, PassRun, graph_files
from compiler.records.comparison import Change, Part

# Files of a bundle by what they are for; the graph's own come from the manifest.
FILES: dict[str, Part] = {
    "tokenizer.json": "tokenizer",
    "tokenizer_config.json": "tokenizer",
    "special_tokens_map.json": "tokenizer",
    "added_tokens.json": "tokenizer",
    "vocab.json": "tokenizer",
    "vocab.txt": "tokenizer",
    "merges.txt": "tokenizer",
    "chat_template.jinja": "chat template",
    "config.json": "configuration",
    "generation_config.json": "configuration",
}
DIGEST = 12  # characters shown of one


def changes(baseline: Opened, candidate: Opened) -> list[Change]:
    """All of it, as far as both sides tell."""
    before, after = baseline.certificate, candidate.certificate
    found = [
        *_rows("checkpoint", _checkpoint(before), _checkpoint(after)),
        *_rows("precision", _settings(before), _settings(after)),
    ]
    shared = set(baseline.precisions) & set(candidate.precisions)
    found += _rows(
        "precision", *({name: side.precisions[name] for name in sorted(shared)} for side in (baseline, candidate))
    )
    found += _rows("fusions", fusions(before), fusions(after))
    found += _rows("passes", _passes(before), _passes(after))
    found += _rows("operators", operators(before), operators(after))
    if sizes := disk_bytes(baseline, candidate):
        found += _rows("sizes", {"all files, bytes": sizes[0]}, {"all files, bytes": sizes[1]})
    if baseline.manifest and candidate.manifest:
        found += _of_bundles(baseline.manifest, candidate.manifest)
    found += _rows("toolchain", before.versions, after.versions)
    return found + _rows("machine", msgspec.structs.asdict(before.machine), msgspec.structs.asdict(after.machine))


def _of_bundles(before: Manifest, after: Manifest) -> list[Change]:
    found = _rows("sizes", *({f"{name}, bytes": file.size for name, file in each.files.items() if _data(name)}
                             for each in (before, after)))  # fmt: skip
    found += _rows("engine", _engine(before), _engine(after))
    found += _rows("graph", _digests(before, _graph(before)), _digests(after, _graph(after)))
    for part in dict.fromkeys(FILES.values()):
        names = [name for name, kind in FILES.items() if kind == part]
        found += _rows(part, _digests(before, names), _digests(after, names))
    return found


def _rows(part: Part, before: Mapping[str, object], after: Mapping[str, object]) -> list[Change]:
    return [
        Change(part=part, name=name, baseline=_text(before.get(name)), candidate=_text(after.get(name)))
        for name in dict.fromkeys((*before, *after))
        if before.get(name) != after.get(name)
    ]


def _text(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else "" if value is None else str(value)


def _checkpoint(certificate: Certificate) -> dict[str, object]:
    source = certificate.source
    adapter = source.adapter.digest[:DIGEST] if source.adapter else None
    return {"digest": source.digest[:DIGEST], "revision": source.revision, "adapter": adapter}


def _settings(certificate: Certificate) -> dict[str, object]:
    return {"of the build": certificate.precision, "profile": certificate.profile}


def _passes(certificate: Certificate) -> dict[str, object]:
    return {f"{run.graph} {run.name}".strip(): _outcome(run) for run in certificate.passes}


def _outcome(run: PassRun) -> str:
    if not run.kept:
        return f"left out: {run.reason}"
    options = ", ".join(f"{name}={value}" for name, value in run.options.items())
    done = f"{run.nodes_before} to {run.nodes_after} nodes" if run.modified else "found nothing"
    return f"{done} ({options})" if options else done


def _engine(manifest: Manifest) -> dict[str, object]:
    options = msgspec.structs.asdict(manifest.options)
    del options["plans"]  # their shapes would not be read by anyone; the plans' own files are compared
    return {"name": manifest.engine, "version": manifest.engine_version, **options}


def _graph(manifest: Manifest) -> list[str]:
    models = graph_files(manifest)
    return [name for name in manifest.files if name.startswith(models)]


def _digests(manifest: Manifest, names: Iterable[str]) -> dict[str, object]:
    return {name: manifest.files[name].sha256[:DIGEST] for name in names if name in manifest.files}


def _data(name: str) -> bool:
    """Whether a file's size is of interest: records and pages differ with every build."""
    return name not in {"certificate.json", "report.html"}
