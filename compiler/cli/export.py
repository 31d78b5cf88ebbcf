"""`compile export`: a checkpoint to a portable model."""

from __future__ import annotations

from pathlib import Path

import click

from compiler.cli import options
from compiler.cli.progress import working


@click.command(short_help="A checkpoint to a portable ONNX model.")
@options.model
@options.task
@options.revision
@options.adapter
@options.adapter_base
@options.out
@options.allow_pickle
@options.output
def export(
    *,
    model: str,
    task: str | None,
    revision: str | None,
    adapters: tuple[str, ...],
    adapter_base: str | None,
    out: Path | None,
    allow_pickle: bool,
    as_json: bool,
    verbose: bool,
) -> None:
    """Export MODEL (a hub id, a folder or a .gguf file) to standard ONNX that knows no hardware.

    \b
    Examples:
      compile export model.gguf --out exported
      compile export ./llm --adapter ./lora --out exported
    """
    from compiler import pipeline, records
    from compiler.cli.output import emit, table

    with working(verbose) as progress:
        folder = pipeline.export(
            model,
            task=task,
            out=out,
            revision=revision,
            adapters=adapters,
            adapter_base=adapter_base,
            allow_pickle=allow_pickle,
            progress=progress,
        )
    exported = records.load(folder / pipeline.EXPORTED, records.Exported)
    if as_json:
        emit({"folder": folder, "exported": exported})
        return
    rows = [
        ("task", exported.task),
        ("architecture", exported.architecture),
        ("parameters", f"{exported.parameters:,}"),
        ("opset", exported.opset),
        ("inputs", "\n".join(f"{tensor.name} {_shape(tensor.shape)}" for tensor in exported.inputs[:4])),
        ("folder", folder),
    ]
    table(("", ""), rows)


def _shape(dims: tuple[int | str, ...]) -> str:
    return f"({', '.join(str(dim) for dim in dims)})"
