"""Tiny bases and PEFT adapters with random weights, as `save_pretrained` leaves them."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import peft
import torch
import transformers
from peft import IA3Config, LoraConfig, PrefixTuningConfig, PromptEncoderConfig, PromptTuningConfig

from compiler.checkpoint.quiet import quiet
from tests.conftest import CONTEXT, _tokenizer

VIRTUAL, LABELS = 5, 3  # tokens; of classification heads

AUTO = {
    "CAUSAL_LM": transformers.AutoModelForCausalLM,
    "SEQ_CLS": transformers.AutoModelForSequenceClassification,
    "TOKEN_CLS": transformers.AutoModelForTokenClassification,
    "FEATURE_EXTRACTION": transformers.AutoModel,
    "SEQ_2_SEQ_LM": transformers.AutoModelForSeq2SeqLM,
}


def llama(folder: Path) -> Path:
    size = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    config = transformers.LlamaConfig(
        **size,
        num_key_value_heads=2,
        vocab_size=_tokenizer(folder),
        max_position_embeddings=CONTEXT,
        bos_token_id=None,
        eos_token_id=0,
        initializer_range=0.3,
    )
    return save(transformers.LlamaForCausalLM, config, folder)


def gpt2(folder: Path) -> Path:
    config = transformers.GPT2Config(
        n_embd=32,
        n_layer=2,
        n_head=4,
        vocab_size=_tokenizer(folder),
        n_positions=CONTEXT,
        bos_token_id=None,
        eos_token_id=0,
        initializer_range=0.3,
    )
    return save(transformers.GPT2LMHeadModel, config, folder)


def bert(folder: Path) -> Path:
    size = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    config = transformers.BertConfig(
        **size, vocab_size=_tokenizer(folder, first="[CLS]"), max_position_embeddings=CONTEXT, initializer_range=0.3
    )
    return save(transformers.BertModel, config, folder)


def save(architecture: Any, config: Any, folder: Path) -> Path:
    torch.manual_seed(0)
    architecture(config).eval().save_pretrained(folder)
    return folder


def adapter(base: Path, folder: Path, config: peft.PeftConfig, seed: int = 1) -> Path:
    """Give every weight that `config` adds to the model in `base` a random value."""
    labels = {"num_labels": LABELS} if str(config.task_type) in {"SEQ_CLS", "TOKEN_CLS"} else {}
    with quiet():
        model = peft.get_peft_model(AUTO[str(config.task_type)].from_pretrained(base, **labels), copy.deepcopy(config))
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            center = 1.0 if "ia3" in name else 0.0
            parameter.data = center + 0.2 * torch.randn(parameter.shape, generator=generator)
    with quiet():
        model.save_pretrained(folder)
    return folder


def opened(base: Path, folder: Path) -> Any:
    """The base with the adapter, as PEFT itself opens it."""
    task = json.loads((folder / "adapter_config.json").read_text())["task_type"]
    labels = {"num_labels": LABELS} if task in {"SEQ_CLS", "TOKEN_CLS"} else {}
    with quiet():
        return peft.PeftModel.from_pretrained(AUTO[task].from_pretrained(base, **labels), folder).eval()


def changed(folder: Path, **settings: Any) -> None:
    """Write other settings into an adapter's configuration."""
    path = folder / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **settings}))


TARGETS = {"llama": ["q_proj", "v_proj", "down_proj"], "gpt2": ["c_attn", "c_fc"]}
DECODERS: dict[str, peft.PeftConfig] = {
    "ia3": IA3Config(task_type="CAUSAL_LM"),
    "prompt": PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=VIRTUAL),
    "p": PromptEncoderConfig(task_type="CAUSAL_LM", num_virtual_tokens=VIRTUAL, encoder_hidden_size=16),
    "prefix": PrefixTuningConfig(
        task_type="CAUSAL_LM", num_virtual_tokens=VIRTUAL, prefix_projection=True, encoder_hidden_size=16
    ),
}


def lora(family: str, **settings: Any) -> LoraConfig:
    return LoraConfig(**{"task_type": "CAUSAL_LM", "r": 4, "target_modules": TARGETS[family], **settings})
