"""Where a session's nodes run and its tensors live: all that ONNX Runtime's engines differ in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Provider:
    """One of ONNX Runtime's execution providers.

    Attributes:
        name: ONNX Runtime's word for it.
        settings: its own options.
        device: where its tensors live, "cpu" or "cuda"; `device_id` is the number of the GPU.
        behind: takes the nodes that this one leaves. ONNX Runtime itself adds the CPU as the last.
        compiles: it makes nodes of its own out of subgraphs, and such a graph cannot be saved.
        cuda_graph: calls of fixed shapes are recorded and replayed.
    """

    name: str = "CPUExecutionProvider"
    settings: Mapping[str, str] = field(default_factory=dict)
    device: str = "cpu"
    device_id: int = 0
    behind: Provider | None = None
    compiles: bool = False
    cuda_graph: bool = False

    @property
    def on_host(self) -> bool:
        """Whether its tensors and numpy's can be the same memory."""
        return self.device == "cpu"

    @property
    def chain(self) -> list[tuple[str, dict[str, str]]]:
        """This provider and those behind it, as `InferenceSession` takes them."""
        return [(self.name, dict(self.settings)), *(self.behind.chain if self.behind else [])]


CPU = Provider()
