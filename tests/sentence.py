"""Tiny random models with a tokenizer that knows every text, for sentence-transformers to put its modules behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

HIDDEN, CONTEXT = 16, 64
SPECIAL = ("<pad>", "<s>", "</s>", "<unk>")
TEXTS = [
    "The Cat sat on the Mat.",
    "Refunds are PAID within five days, if you ask",
    "why",
    "An old sailor told a LONG story of rain, of winds, and of the one fish that he had not caught in sixty years",
    "Größe und Σίσυφος 😀",
]
QUERY = "Who told a story?"


def bert(folder: Path, name: str = "BertModel", **config: Any) -> Path:
    """A BERT of one layer, HIDDEN wide."""
    return _saved(folder, name, frame=True, intermediate_size=32, **config)


def llama(folder: Path) -> Path:
    """A decoder, whose tokenizer pads on the left and puts nothing around a text."""
    sizes = {"intermediate_size": 32, "num_key_value_heads": 1, "bos_token_id": 1, "eos_token_id": 2}
    return _saved(folder, "LlamaModel", frame=False, padding_side="left", **sizes)


def _saved(folder: Path, name: str, *, frame: bool, padding_side: str = "right", **config: Any) -> Path:
    import torch
    import transformers

    torch.manual_seed(0)
    kind = getattr(transformers, name)
    sizes = {"hidden_size": HIDDEN, "num_hidden_layers": 1, "num_attention_heads": 2, "initializer_range": 0.3}
    rows = {"vocab_size": len(SPECIAL) + 256, "max_position_embeddings": CONTEXT, "pad_token_id": 0}
    kind(kind.config_class(**sizes, **rows, **config)).eval().save_pretrained(folder)
    _tokenizer(frame, padding_side).save_pretrained(folder)
    return folder


def _tokenizer(frame: bool, padding_side: str) -> Any:
    """A token for each byte; `frame` puts <s> and </s> around texts."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    tokens = [*SPECIAL, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    made = Tokenizer(models.BPE(vocab={token: number for number, token in enumerate(tokens)}, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens(list(SPECIAL))
    if frame:
        made.post_processor = processors.TemplateProcessing(
            single="<s> $A </s>", pair="<s> $A </s> $B:1 </s>:1", special_tokens=[("<s>", 1), ("</s>", 2)]
        )
    named = dict(zip(("pad_token", "bos_token", "eos_token", "unk_token"), SPECIAL, strict=True))
    return PreTrainedTokenizerFast(tokenizer_object=made, model_max_length=CONTEXT, padding_side=padding_side, **named)
