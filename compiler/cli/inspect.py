"""`compile inspect`: what is in a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from compiler.cli import options

if TYPE_CHECKING:
    from compiler.records import Certificate, Manifest, Pooling


@click.command(short_help="A bundle's manifest, certificate and operators.")
@click.argument("bundle", type=options.FOLDER)
@click.option("--no-verify", is_flag=True, help="Do not compare the other files with their digests; say so.")
@options.output
def inspect(bundle: Path, no_verify: bool, as_json: bool, verbose: bool) -> None:
    """Show what BUNDLE is, how it was certified, and which operator runs where in which precision.

    Every file is compared with its digest first. Exit code 11 when one was changed, is missing or was added.

    \b
    Examples:
      compile inspect artifacts/model
      compile inspect artifacts/model --no-verify   # also of a damaged one, as far as it can be read
    """
    from compiler.bundle import compare, digest_of
    from compiler.cli.output import emit, size, table
    from compiler.cli.summary import read, show, show_checked, show_measured
    from compiler.machine import kind

    manifest, certificate = read(bundle)
    if not no_verify:
        compare(bundle, manifest)
    if as_json:
        known = {"bundle": bundle, "digest": digest_of(bundle), "verified": not no_verify}
        emit({**known, "manifest": manifest, "certificate": certificate})
        return
    show(bundle)
    count = len(manifest.files)
    click.echo(f"files: {count} NOT compared with their digests" if no_verify else f"files: all {count} as sealed")
    show_checked(certificate.checked)
    if certificate.measured:
        show_measured(certificate.measured)
    rows = [
        (
            place.operator,
            place.count,
            place.precision,
            place.provider,
            f"{place.time_share:.1%}",
            ", ".join(place.modules),
        )
        for place in sorted(certificate.placement, key=lambda place: -place.time_share)
    ]
    table(("operator", "nodes", "precision", "runs on", "time", "modules"), rows, "Operators")
    for plan in manifest.plans:
        layers = sorted(plan.layers, key=lambda layer: -layer.count)
        title = f"{plan.file}: {plan.flavor} {plan.version} for {plan.target}, {size(plan.size)}, flags: "
        title += ", ".join(plan.flags) or "none"
        table(("layer", "nodes", "precision"), [(one.operator, one.count, one.precision) for one in layers], title)
    source = manifest.source
    facts = [
        ("source", f"{source.name} ({source.kind})"),
        ("source digest", source.digest),
        ("architecture", manifest.architecture),
        ("parameters", f"{manifest.parameters:,}"),
        ("context", _context(manifest, certificate)),
        ("engine", f"{manifest.engine} {manifest.engine_version}"),
        *(_vectors(manifest.pooling) if manifest.pooling else ()),
        ("created", certificate.created),
        ("machine", f"{certificate.machine.cpu}, {kind(certificate.machine)}"),
    ]
    table(("", ""), facts, "Origin")
    table(("file", "size"), [(name, size(entry.size)) for name, entry in manifest.files.items()], "Files")


def _context(manifest: Manifest, certificate: Certificate) -> str:
    said = f"{manifest.context_length} tokens"
    if manifest.context_length < certificate.stated_context:
        said += f" of {certificate.stated_context}: {certificate.context_reason}"
    return said


def _vectors(pooling: Pooling) -> list[tuple[str, str]]:
    """How a text's vector is made, and what stands in front of the text."""
    from compiler.records import Dense, Normalize

    steps = [" + ".join(pooling.modes) + ("" if pooling.include_prompt else " without the prompt")]
    for module in pooling.modules:
        width = "" if isinstance(module, Normalize) else module.outputs if isinstance(module, Dense) else module.width
        activation = module.activation if isinstance(module, Dense) else ""
        steps.append(f"{type(module).__name__} {width} {activation}".rstrip())
    facts = [("vectors", ", ".join(steps))]
    if pooling.messages:
        facts.append(("texts", f"chat messages, {pooling.messages.layout}"))
    for name, prompt in pooling.prompts.items():
        facts.append((f"prompt {name}", repr(prompt) + (" by default" if name == pooling.default_prompt else "")))
    return facts
