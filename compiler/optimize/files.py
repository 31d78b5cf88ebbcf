"""Reading and writing a graph and its weights."""

from __future__ import annotations

from pathlib import Path

import onnx_ir as ir

from compiler.errors import IntegrityError, StorageError
from compiler.optimize.passes.graph import MODULE
from compiler.storage import advice, told


def load(path: Path) -> ir.Model:
    """Read a model; its weights stay on disk, mapped into memory when looked at.

    Raises:
        IntegrityError: no such file, or not an ONNX model.
    """
    try:
        return ir.load(path)
    except Exception as error:
        raise IntegrityError(
            f"{path}: not a readable ONNX model", found=str(error), action="export it again"
        ) from error


def save(model: ir.Model, path: Path) -> None:
    """Write `path` and, beside it, all weights in one file `<name>.data`, which may exceed 2 GB.

    Of the metadata only module paths stay: no stack traces, no source paths.

    Raises:
        StorageError: the disk is full or not writable.
    """
    _strip(model)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        ir.save(model, path, external_data=f"{path.name}.data", size_threshold_bytes=1024)
    except OSError as error:
        raise StorageError(
            f"{path}: cannot be written", found=told(error, path), action=advice(error.errno, path)
        ) from error


def _strip(model: ir.Model) -> None:
    model.metadata_props.clear()
    model.doc_string = None
    model.graph.metadata_props.clear()
    model.graph.doc_string = None
    for value in (*model.graph.inputs, *model.graph.initializers.values()):
        value.metadata_props.clear()
    for node in model.graph.all_nodes():
        node.doc_string = None
        module = node.metadata_props.get(MODULE)
        node.metadata_props.clear()
        if module:
            node.metadata_props[MODULE] = module
        for output in node.outputs:
            output.metadata_props.clear()
            output.doc_string = None
