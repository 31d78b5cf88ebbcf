"""Small checkpoint files as they should be, by name, for fuzz tests to break."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from msgspec.structs import replace
from safetensors.numpy import save

from compiler.checkpoint.marks import marks
from compiler.checkpoint.resolve import Checkpoint
from compiler.checkpoint.tokens import Tokens
from compiler.records import Tensor
from tests import models as tiny

CONFIG = {
    "model_type": "bert",
    "architectures": ["BertModel"],
    "hidden_size": 4,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 8,
    "vocab_size": 54,
    "max_position_embeddings": 64,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
    "id2label": {"0": "no", "1": "yes"},
    "label2id": {"no": 0, "yes": 1},
    "torch_dtype": "float32",
    "pad_token_id": 0,
}
LLAMA = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 4,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "intermediate_size": 8,
    "vocab_size": 54,
    "rope_scaling": {"rope_type": "linear", "factor": 2.0},
    "rope_theta": 10000.0,
    "eos_token_id": [1, 2],
    "tie_word_embeddings": False,
}
ODD = {
    **LLAMA,
    "head_dim": 2,
    "kv_channels": 2,
    "position_embedding_type": "rope",
    "layer_types": ["full_attention"],
    "sliding_window": 4096,
    "max_position_embeddings": 64,
    "num_kv_heads": 2,
    "n_layer": 1,
    "n_ctx": 64,
    "hidden_activation": "silu",
    "norm_eps": 1e-6,
    "is_causal": True,
    "pruned_heads": {},
    "alibi": False,
    "normalize_before": False,
    "use_embedding_sharing": False,
    "rope_parameters": {"full_attention": {"rope_type": "yarn", "factor": 2.0, "beta_fast": 32}},
    "auto_map": {"AutoModel": "mine.Model"},
    "my_dropout": 0.1,
}
WEIGHTS = save({"embeddings.word_embeddings.weight": np.ones((6, 4), np.float32), "bias": np.zeros(4, np.float16)})
INDEX = {
    "metadata": {"total_size": 104},
    "weight_map": {"a.weight": "model-00001-of-00001.safetensors", "b": "model-00001-of-00001.safetensors"},
}
TOKENIZER = {
    "tokenizer_class": "PreTrainedTokenizerFast",
    "model_max_length": 64,
    "pad_token": "<pad>",
    "bos_token": {"__type": "AddedToken", "content": "<bos>", "lstrip": False, "special": True},
    "added_tokens_decoder": {"0": {"content": "<pad>", "special": True, "lstrip": False}},
    "additional_special_tokens": ["<user>"],
    "padding_side": "right",
}
MODULES = [
    {"idx": index, "name": str(index), "path": f"{index}_{kind}" if index else "", "type": f"{package}.{kind}"}
    for package in ("sentence_transformers.models",)
    for index, kind in enumerate(("Transformer", "Pooling", "Dense", "LayerNorm", "Normalize"))
]
ENCODER: dict[str, Any] = {
    "modules.json": MODULES,
    "config_sentence_transformers.json": {
        "__version__": {"sentence_transformers": "5.0.0"},
        "model_type": "SentenceTransformer",
        "prompts": {"query": "query: ", "document": ""},
        "default_prompt_name": "query",
        "similarity_fn_name": "cosine",
        "truncate_dim": 2,
    },
    "sentence_bert_config.json": {
        "max_seq_length": 32,
        "do_lower_case": True,
        "model_args": {"torch_dtype": "float32"},
        "tokenizer_args": {"model_max_length": 16},
    },
    "1_Pooling/config.json": {
        "word_embedding_dimension": 4,
        "pooling_mode_cls_token": False,
        "pooling_mode_mean_tokens": True,
        "include_prompt": True,
    },
    "2_Dense/config.json": {
        "in_features": 4,
        "out_features": 3,
        "bias": True,
        "activation_function": "torch.nn.modules.activation.Tanh",
    },
    "3_LayerNorm/config.json": {"dimension": 3},
}
DENSE = save({"linear.weight": np.ones((3, 4), np.float32), "linear.bias": np.zeros(3, np.float32)})
NORM = save({"norm.weight": np.ones(3, np.float32), "norm.bias": np.zeros(3, np.float32)})
RANKER: dict[str, Any] = {
    "modules.json": MODULES[:1],
    "config_sentence_transformers.json": {
        "model_type": "CrossEncoder",
        "activation_fn": "torch.nn.modules.activation.Sigmoid",
        "prompts": {"query": "", "document": ""},
    },
    "sentence_bert_config.json": {
        "transformer_task": "sequence-classification",
        "modality_config": {"text": {"method": "forward", "method_output_name": "logits"}},
        "module_output_name": "scores",
    },
}
LORA = {
    "peft_type": "LORA",
    "task_type": "CAUSAL_LM",
    "base_model_name_or_path": "some/base",
    "r": 2,
    "lora_alpha": 4,
    "target_modules": ["q_proj"],
    "rank_pattern": {"q_proj": 2},
}
LORA_WEIGHTS = save({"base_model.model.q.lora_A.weight": np.ones((2, 4), np.float32)})
TYPES = (Tensor(name="token_type_ids", dtype="int64", shape=("batch", "sequence")),)
TEXTS = ("a b ab A fine day", "\u6f22\u5b57")


def used(folder: Path, task: str = "feature-extraction") -> list[Any]:
    """All that a build asks transformers of the tokenizer in a folder: it is loaded, and reads plain texts."""
    source = tiny.manifest("encoder", (), ()).source
    checkpoint = Checkpoint(source=source, folder=folder, task=task, config={}, location=str(folder))
    manifest = replace(tiny.manifest("encoder", TYPES, ()), task=task)
    tokens = Tokens(checkpoint, manifest)
    found = [*tokens.rows(TEXTS), marks(folder), tokens.vocabulary, tokens.special, tokens.labels]
    return [*found, tokens.chat([{"role": "user", "content": TEXTS[0]}])]
