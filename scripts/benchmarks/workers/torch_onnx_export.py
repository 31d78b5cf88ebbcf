"""torch.export and torch.onnx.export of a checkpoint with the libraries alone: no cache, nothing checked or fused."""

from __future__ import annotations

import torch
import transformers
from timing import answer, arguments

asked = arguments()


class First(torch.nn.Module):
    """The model's first output, of token ids and mask."""

    def __init__(self) -> None:
        super().__init__()
        self.model = getattr(transformers, asked["auto_class"]).from_pretrained(asked["model"], dtype=torch.float32)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = self.model(input_ids=input_ids, attention_mask=attention_mask, use_cache=False)[0]
        return output


ids = torch.randint(5, 100, (2, 16))
axes = {0: torch.export.Dim.AUTO, 1: torch.export.Dim.AUTO}
with torch.no_grad():
    program = torch.export.export(
        First().eval(), (ids, torch.ones_like(ids)), dynamic_shapes=(axes, axes), strict=False
    )
    torch.onnx.export(program, f=asked["out"], verbose=False, external_data=True)
answer(parameters=sum(value.numel() for value in program.state_dict.values()))
