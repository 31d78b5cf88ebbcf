"""A model with virtual tokens in front of the text."""

from __future__ import annotations

from typing import Any

import torch

PREFIX = "PREFIX_TUNING"


class VirtualTokens(torch.nn.Module):
    """A prompt-, p- or prefix-tuned model that answers for the real tokens only, as a plain model does.

    `virtual` is the number of tokens in front; `base` the model without them.
    """

    def __init__(self, peft: Any) -> None:
        super().__init__()
        config = peft.active_peft_config
        self.peft = peft
        self.virtual = int(config.num_virtual_tokens)
        # Prefixes are past keys and values without outputs, and a text's label has no tokens.
        self.hidden = 0 if config.peft_type == PREFIX or config.task_type == "SEQ_CLS" else self.virtual

    @property
    def base(self) -> Any:
        return self.peft.get_base_model()

    @property
    def generation_config(self) -> Any:
        return self.base.generation_config

    @generation_config.setter
    def generation_config(self, config: Any) -> None:
        self.base.generation_config = self.peft.generation_config = config

    def __getattr__(self, name: str) -> Any:
        """Whatever else is asked of it, the base answers."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name == "peft":
                raise
            return getattr(self.base, name)

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        token_type_ids: torch.Tensor | None = None,
        **options: Any,
    ) -> Any:
        """As transformers' forward; `past_key_values` of an earlier call hold the virtual tokens already."""
        if token_type_ids is not None:
            options["token_type_ids"] = token_type_ids
        if options.get("past_key_values") is not None:
            return self.base(input_ids=input_ids, attention_mask=attention_mask, **options)
        answer = self.peft(input_ids=input_ids, attention_mask=attention_mask, **options)
        for name in ("logits", "last_hidden_state", "start_logits", "end_logits"):
            if self.hidden and name in answer:
                answer[name] = answer[name][:, self.hidden :]
        return answer

    def generate(self, input_ids: torch.Tensor, **options: Any) -> Any:
        """PEFT's own generation."""
        return self.peft.generate(input_ids=input_ids, **options)

    def past(self) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """The keys and values of the virtual tokens, (1, kv_heads, virtual, head_dim) each, layer by layer.

        Nothing that follows is seen by them in a causal model, so they are the same for every text.
        """
        from transformers import DynamicCache

        with torch.inference_mode():
            if self.peft.active_peft_config.peft_type == PREFIX:
                cache = self.peft.get_prompt(batch_size=1)
            else:
                cache = DynamicCache()
                self.base(inputs_embeds=self.peft.get_prompt(batch_size=1), past_key_values=cache, use_cache=True)
        return [(layer.keys.clone(), layer.values.clone()) for layer in cache.layers]
