"""Tiny random models with which a peer's environment is tried: a Llama's folder, and a BERT with its tokenizer."""

from __future__ import annotations

from pathlib import Path

import transformers
from timing import answer, arguments

asked = arguments()
out = Path(asked["out"])
tokenizer = transformers.AutoTokenizer.from_pretrained(asked["tokenizer"])
sizes = {
    "vocab_size": len(tokenizer),
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 256,
}
llama = transformers.LlamaConfig(**sizes, num_key_value_heads=2, bos_token_id=1, eos_token_id=2)
for name, model in (
    ("llama", transformers.LlamaForCausalLM(llama)),
    ("bert", transformers.BertModel(transformers.BertConfig(**sizes))),
):
    model.save_pretrained(out / name)
    tokenizer.save_pretrained(out / name)
answer(models=["llama", "bert"])
