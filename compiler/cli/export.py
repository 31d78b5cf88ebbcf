"""`compile export`: a checkpoint to a portable model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from compiler.cli import options
from compiler.cli.progress import working
from compiler.request import ModelRequest


@click.command(short_help="A checkpoint to a portable ONNX model.")
@options.request(*ModelRequest.__struct_fields__)
@options.out
@options.output
def export(*, out: Path | None, as_json: bool, verbose: bool, **choices: Any) -> None:
    """Export MODEL (a hub id, a folder or a .gguf file) to standard ONNX that knows no hardware.

    \b
    Examples:
      compile export model.gguf --out exported
      compile export ./llm --adapter ./lora --out exported
    """
    from compiler import pipeline, records
    from compiler.bundle import EXPORTED
    from compiler.cli.output import emit, table

    with working(verbose) as progress:
        folder = pipeline.export(ModelRequest(**choices), out=out, progress=progress)
    exported = records.load(folder / EXPORTED, records.Exported)
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
