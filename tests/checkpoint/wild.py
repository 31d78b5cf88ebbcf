"""Entries of config.json as well-known checkpoints have them, beside what a class writes today.

Each is a model type and the entries that its class does not have, or that stand in another form than it writes; none of
them may be a reason to refuse the checkpoint.
"""

from __future__ import annotations

from typing import Any

_OLD = {
    "_name_or_path": "models/mine",
    "_num_labels": 3,
    "finetuning_task": None,
    "gradient_checkpointing": False,
    "output_past": True,
    "pruned_heads": {},
    "torchscript": False,
    "use_bfloat16": False,
    "xla_device": None,
    "transformers_version": "4.6.1",
    "use_cache": True,
}
_SUMMARY = {
    "summary_activation": None,
    "summary_first_dropout": 0.1,
    "summary_proj_to_labels": True,
    "summary_type": "cls_index",
    "summary_use_proj": True,
}
_FAIRSEQ = {
    "activation_dropout": 0.0,
    "add_bias_logits": False,
    "classif_dropout": 0.0,
    "early_stopping": True,
    "extra_pos_embeddings": 2,
    "gradient_checkpointing": False,
    "length_penalty": 2.0,
    "max_length": 142,
    "num_beams": 4,
    "no_repeat_ngram_size": 3,
    "prefix": " ",
    "task_specific_params": {"summarization": {"length_penalty": 2.0, "max_length": 142, "num_beams": 4}},
}
_ORIGINAL = {"normalize_before": False, "add_final_layer_norm": False, "static_position_embeddings": False}

WILD: dict[str, tuple[str, dict[str, Any]]] = {
    "google-bert/bert-base-multilingual-cased": (
        "bert",
        {
            **_OLD,
            "directionality": "bidi",
            "pooler_fc_size": 768,
            "pooler_num_attention_heads": 12,
            "pooler_num_fc_layers": 3,
            "pooler_size_per_head": 128,
            "pooler_type": "first_token_transform",
            "position_embedding_type": "absolute",
        },
    ),
    "sentence-transformers/all-MiniLM-L6-v2": (
        "bert",
        {**_OLD, "position_embedding_type": "absolute", "_name_or_path": "nreimers/MiniLM-L6-H384-uncased"},
    ),
    "cross-encoder/ms-marco-MiniLM-L6-v2": (
        "bert",
        {"sbert_ce_default_activation_function": "torch.nn.modules.linear.Identity", "gradient_checkpointing": False},
    ),
    "FacebookAI/roberta-large-mnli": ("roberta", {**_OLD, "num_labels": 3, "position_embedding_type": "absolute"}),
    "intfloat/multilingual-e5-small": ("bert", {"tokenizer_class": "XLMRobertaTokenizer", "output_past": True}),
    "distilbert/distilbert-base-uncased": ("distilbert", {"tie_weights_": True, "sinusoidal_pos_embds": False}),
    "albert/albert-base-v2": (
        "albert",
        {
            "down_scale_factor": 1,
            "gap_size": 0,
            "layers_to_keep": [],
            "net_structure_type": 0,
            "num_memory_blocks": 0,
            "position_embedding_type": "absolute",
        },
    ),
    "google/electra-base-discriminator": (
        "electra",
        {"position_embedding_type": "absolute", "summary_last_dropout": 0.1, "summary_type": "first"},
    ),
    "microsoft/deberta-v2-xxlarge": (
        "deberta-v2",
        {
            "attention_head_size": 64,
            "hidden_size": 1536,
            "num_attention_heads": 24,
            "conv_act": "gelu",
            "conv_kernel_size": 3,
            "pooler_hidden_size": 1536,
            "pos_att_type": ["p2c", "c2p"],
        },
    ),
    "microsoft/deberta-v3-base": (
        "deberta-v2",
        {"pos_att_type": "p2c|c2p", "norm_rel_ebd": "layer_norm", "share_att_key": True, "position_buckets": 256},
    ),
    "answerdotai/ModernBERT-base": (
        "modernbert",
        {
            "gradient_checkpointing": False,
            "layer_norm_eps": 1e-05,
            "norm_eps": 1e-05,
            "position_embedding_type": "absolute",
            "global_attn_every_n_layers": 3,
            "global_rope_theta": 160000.0,
            "local_attention": 128,
            "local_rope_theta": 10000.0,
            "repad_logits_with_grad": False,
            "reference_compile": None,
            "deterministic_flash_attn": False,
        },
    ),
    "xlnet/xlnet-base-cased": ("xlnet", {**_SUMMARY, "bi_data": False, "n_token": 32000, "untie_r": True}),
    "openai-community/gpt2": (
        "gpt2",
        {
            **_SUMMARY,
            "n_ctx": 1024,
            "task_specific_params": {"text-generation": {"do_sample": True, "max_length": 50}},
        },
    ),
    "distilbert/distilgpt2": ("gpt2", {**_OLD, "_num_labels": 1, "n_ctx": 1024}),
    "EleutherAI/gpt-neo-125m": (
        "gpt_neo",
        {**_SUMMARY, "tokenizer_class": "GPT2Tokenizer", "embed_dropout": 0, "layer_norm_epsilon": 1e-05},
    ),
    "EleutherAI/gpt-j-6b": ("gptj", {**_SUMMARY, "rotary": True, "scale_attn_weights": True, "n_inner": None}),
    "EleutherAI/pythia-160m": ("gpt_neox", {"rotary_emb_base": 10000, "rotary_pct": 0.25}),
    "facebook/opt-125m": ("opt", {"prefix": "</s>", "_remove_final_layer_norm": False, "activation_dropout": 0.0}),
    "bigscience/bloom-560m": (
        "bloom",
        {
            "attention_softmax_in_fp32": True,
            "bias_dropout_fusion": True,
            "masked_softmax_fusion": True,
            "offset_alibi": 100,
            "n_embed": 1024,
            "n_inner": None,
            "pretraining_tp": 1,
            "seq_length": 2048,
            "skip_bias_add": True,
            "skip_bias_add_qkv": False,
            "unk_token_id": 0,
            "hidden_size": 1024,
        },
    ),
    "HuggingFaceTB/SmolLM2-135M-Instruct": (
        "llama",
        {
            "is_llama_config": True,
            "pretraining_tp": 1,
            "rope_interleaved": False,
            "rope_scaling": None,
            "rope_theta": 100000,
            "torch_dtype": "bfloat16",
            "transformers.js_config": {"kv_cache_dtype": {"q4f16": "float16"}},
        },
    ),
    "lmsys/vicuna-7b-v1.5": ("llama", {"max_sequence_length": 4096, "do_sample": True, "temperature": 0.9}),
    "unsloth/Llama-3.2-1B-Instruct": (
        "llama",
        {
            "unsloth_version": "2025.1.5",
            "unsloth_fixed": True,
            "_attn_implementation_autoset": True,
            "rope_scaling": {
                "factor": 32.0,
                "high_freq_factor": 4.0,
                "low_freq_factor": 1.0,
                "original_max_position_embeddings": 8192,
                "rope_type": "llama3",
            },
            "head_dim": 64,
        },
    ),
    "Qwen/Qwen2.5-0.5B": (
        "qwen2",
        {"use_mrope": False, "sliding_window": 32768, "use_sliding_window": False, "max_window_layers": 24},
    ),
    "microsoft/Phi-3-mini-4k-instruct": (
        "phi3",
        {
            "auto_map": {"AutoModelForCausalLM": "modeling_phi3.Phi3ForCausalLM"},
            "attention_bias": False,
            "embd_pdrop": 0.0,
            "original_max_position_embeddings": 4096,
            "sliding_window": 2047,
        },
    ),
    "microsoft/phi-2": ("phi", {"qk_layernorm": False, "partial_rotary_factor": 0.4, "embd_pdrop": 0.0}),
    "google/gemma-2-2b": (
        "gemma2",
        {"cache_implementation": "hybrid", "hidden_act": "gelu_pytorch_tanh", "hidden_activation": "gelu_pytorch_tanh"},
    ),
    "google/gemma-3-270m": (
        "gemma3_text",
        {"_sliding_window_pattern": 6, "rope_local_base_freq": 10000.0, "rope_theta": 1000000.0, "rope_scaling": None},
    ),
    "tiiuae/falcon-7b": (
        "falcon",
        {"alibi": False, "apply_residual_connection_post_layernorm": False, "multi_query": True, "parallel_attn": True},
    ),
    "CohereLabs/c4ai-command-r7b-12-2024": (
        "cohere2",
        {
            "order_of_interleaved_layers": "local_attn_first",
            "position_embedding_type": "rope_gptj",
            "rotary_pct": 1.0,
            "sliding_window_pattern": 4,
            "use_embedding_sharing": True,
            "use_gated_activation": True,
            "use_parallel_block": True,
            "use_parallel_embedding": True,
            "_attn_implementation_autoset": True,
        },
    ),
    "google-t5/t5-small": (
        "t5",
        {
            "n_positions": 512,
            "output_past": True,
            "task_specific_params": {"translation_en_to_de": {"prefix": "translate English to German: "}},
            "feed_forward_proj": "relu",
            "is_gated_act": False,
            "dense_act_fn": "relu",
        },
    ),
    "google/umt5-small": ("umt5", {"scalable_attention": True, "tokenizer_class": "T5Tokenizer"}),
    "facebook/bart-large-cnn": (
        "bart",
        {**_FAIRSEQ, **_ORIGINAL, "normalize_embedding": True, "force_bos_token_to_be_generated": True,
         "forced_bos_token_id": 0},
    ),
    "facebook/mbart-large-50": (
        "mbart",
        {**_FAIRSEQ, "normalize_before": True, "add_final_layer_norm": True, "normalize_embedding": True,
         "static_position_embeddings": False},
    ),
    "Helsinki-NLP/opus-mt-en-de": (
        "marian",
        {**_FAIRSEQ, **_ORIGINAL, "normalize_embedding": False, "static_position_embeddings": True,
         "bad_words_ids": [[58100]], "num_beams": 6},
    ),
    "google/pegasus-xsum": (
        "pegasus",
        {**_FAIRSEQ, "normalize_before": True, "add_final_layer_norm": True, "normalize_embedding": False,
         "static_position_embeddings": True, "extra_pos_embeddings": 1},
    ),
    "facebook/blenderbot-400M-distill": (
        "blenderbot",
        {**_FAIRSEQ, "normalize_before": True, "add_final_layer_norm": True, "normalize_embedding": False,
         "static_position_embeddings": False, "layernorm_variant": "prelayernorm"},
    ),
    "facebook/blenderbot_small-90M": (
        "blenderbot-small",
        {**_FAIRSEQ, **_ORIGINAL, "normalize_embedding": True, "layernorm_variant": "xlm"},
    ),
}  # fmt: skip
