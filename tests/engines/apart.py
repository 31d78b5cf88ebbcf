"""The CPU as a provider whose memory numpy may not share: what drives a GPU runs with it, kernels and all."""

from __future__ import annotations

from pathlib import Path

from compiler.engines.onnxruntime.provider import Provider
from compiler.engines.onnxruntime.session import OnnxRuntimeSession
from tests.engines.decoders import OPTIONS

CUDA = Provider("CUDAExecutionProvider", {"device_id": "0"}, device="cuda")


class Apart(Provider):
    @property
    def on_host(self) -> bool:
        return False


def open_apart(folder: Path, *, cuda_graph: bool) -> OnnxRuntimeSession:
    return OnnxRuntimeSession(folder / "model.onnx", OPTIONS, Apart(cuda_graph=cuda_graph))
