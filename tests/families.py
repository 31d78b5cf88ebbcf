"""Every model family that compiles: tiny random configurations, one row for each family and task.

`scripts/families` runs each row from checkpoint to verdict, and makes the table in docs/families.md from what passed.
The counts in a row are what export keeps whole and what lowering fuses; tests/export/test_families.py and
`scripts/families` hold them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from compiler.checkpoint.quiet import quiet
from compiler.tasks import TASKS

CONTEXT, VOCABULARY = 128, 300
BEGIN, PAD, END, MASK, UNKNOWN = range(5)
SPECIAL = {"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "mask_token": "<mask>", "unk_token": "<unk>"}
TEXT = "the cat sat on the mat while an old sailor told a long story about rain and wind in the harbour"


class Family(NamedTuple):
    """A family and one of its tasks. `config` are the arguments of its configuration class.

    `whole` is the number of Attention nodes in the portable graphs, `fused` that of MultiHeadAttention and
    GroupQueryAttention in the lowered ones. Families that spell attention out themselves have none of either.
    """

    name: str
    model_type: str
    task: str
    config: dict[str, Any]
    whole: int = 2
    fused: int = 2

    @property
    def id(self) -> str:
        return f"{self.name}-{self.task}"

    @property
    def model(self) -> str:
        """The class of transformers that loads it."""
        return TASKS[self.task].auto_class


_TOKENS = {"vocab_size": VOCABULARY, "pad_token_id": PAD, "bos_token_id": BEGIN, "eos_token_id": END}
_BASE = {
    **_TOKENS,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": CONTEXT,
}
_SMALL_EMBEDDING = {**_BASE, "embedding_size": 16}
_DISTILBERT = {
    "vocab_size": VOCABULARY,
    "pad_token_id": PAD,
    "dim": 32,
    "n_layers": 2,
    "n_heads": 4,
    "hidden_dim": 64,
    "max_position_embeddings": CONTEXT,
}
_DEBERTA = {
    **_BASE,
    "relative_attention": True,
    "position_buckets": 8,
    "pos_att_type": ["p2c", "c2p"],
    "share_att_key": True,
    "norm_rel_ebd": "layer_norm",
    "position_biased_input": False,
    "type_vocab_size": 0,
}
_MODERNBERT = {
    **_BASE,
    "global_attn_every_n_layers": 2,
    "local_attention": 8,
    "cls_token_id": BEGIN,
    "sep_token_id": END,
}
_XLNET = {**_TOKENS, "d_model": 32, "n_layer": 2, "n_head": 4, "d_inner": 64}
_OFFSET = {**_BASE, "max_position_embeddings": CONTEXT + PAD + 1}  # positions begin after the padding token's
_GPT = {**_TOKENS, "n_positions": CONTEXT, "n_embd": 32, "n_layer": 2, "n_head": 4}
_GPT_NEO = {
    **_TOKENS,
    "max_position_embeddings": CONTEXT,
    "hidden_size": 32,
    "num_layers": 2,
    "num_heads": 4,
    "intermediate_size": 64,
    "attention_types": [[["global", "local"], 1]],
    "window_size": 8,
}
_OPT = {
    **_TOKENS,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "ffn_dim": 64,
    "max_position_embeddings": CONTEXT,
    "word_embed_proj_dim": 32,
}
_BLOOM = {**_TOKENS, "hidden_size": 32, "n_layer": 2, "n_head": 4}
_GROUPED = {**_BASE, "num_key_value_heads": 2}
_WIDE = {**_GROUPED, "head_dim": 16}
_GEMMA = {**_WIDE, "sliding_window": 8, "query_pre_attn_scalar": 16}
_EXPERTS = {"num_experts_per_tok": 2}
_T5 = {
    "vocab_size": VOCABULARY,
    "pad_token_id": PAD,
    "eos_token_id": END,
    "decoder_start_token_id": PAD,
    "d_model": 32,
    "d_kv": 8,
    "d_ff": 64,
    "num_layers": 2,
    "num_decoder_layers": 2,
    "num_heads": 4,
    "relative_attention_num_buckets": 8,
}
_BART = {
    **_TOKENS,
    "decoder_start_token_id": END,
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64,
    "max_position_embeddings": CONTEXT,
}
_GATED = {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}
_FROM_PAD = {**_BART, "decoder_start_token_id": PAD}

_VECTORS, _FILL, _CLASS = "feature-extraction", "fill-mask", "text-classification"
_WORDS, _ANSWERS = "token-classification", "question-answering"
THREEFOLD = (6, 2)  # encoder, decoder, and between them; those of the decoder run as Attention
NONE = (0, 0)  # attention is spelt out in the modeling code, and traced as plain operators
GENERATE, REWRITE = "text-generation", "text2text-generation"

FAMILIES: tuple[Family, ...] = (
    Family("bert", "bert", _VECTORS, _BASE),
    Family("roberta", "roberta", _VECTORS, _OFFSET),
    Family("xlm-roberta", "xlm-roberta", _VECTORS, _OFFSET),
    Family("camembert", "camembert", _VECTORS, _OFFSET),
    Family("electra", "electra", _VECTORS, _SMALL_EMBEDDING),
    Family("distilbert", "distilbert", _VECTORS, _DISTILBERT),
    Family("albert", "albert", _VECTORS, _SMALL_EMBEDDING),
    Family("mpnet", "mpnet", _VECTORS, _OFFSET, *NONE),
    Family("deberta-v2", "deberta-v2", _VECTORS, _DEBERTA, *NONE),
    Family("modernbert", "modernbert", _VECTORS, _MODERNBERT, fused=0),
    Family("xlnet", "xlnet", _VECTORS, _XLNET, *NONE),
    Family("bert", "bert", _FILL, _BASE),
    Family("roberta", "roberta", _FILL, _OFFSET),
    Family("albert", "albert", _FILL, _SMALL_EMBEDDING),
    Family("modernbert", "modernbert", _FILL, _MODERNBERT, fused=0),
    Family("roberta", "roberta", _CLASS, _OFFSET),
    Family("deberta-v2", "deberta-v2", _CLASS, _DEBERTA, *NONE),
    Family("xlnet", "xlnet", _CLASS, _XLNET, *NONE),
    Family("electra", "electra", _WORDS, _SMALL_EMBEDDING),
    Family("distilbert", "distilbert", _ANSWERS, _DISTILBERT),
    Family("bert", "bert", "multiple-choice", _BASE, fused=0),  # its mask comes flattened, which the pass does not know
    Family("bert", "bert", "next-sentence-prediction", _BASE),
    Family("electra", "electra", "replaced-token-detection", _SMALL_EMBEDDING),
    Family("gpt2", "gpt2", GENERATE, _GPT),
    Family("gpt_neo", "gpt_neo", GENERATE, _GPT_NEO, *NONE),
    Family("gpt_neox", "gpt_neox", GENERATE, {**_BASE, "hidden_size": 64, "rotary_pct": 0.5}),
    Family("gptj", "gptj", GENERATE, {**_GPT, "rotary_dim": 4}, *NONE),
    Family("opt", "opt", GENERATE, _OPT),
    Family("bloom", "bloom", GENERATE, _BLOOM, *NONE),
    Family("llama", "llama", GENERATE, _GROUPED),
    Family("mistral", "mistral", GENERATE, {**_GROUPED, "sliding_window": 8}),
    Family("qwen2", "qwen2", GENERATE, _GROUPED),
    Family("qwen3", "qwen3", GENERATE, _WIDE),
    Family("gemma2", "gemma2", GENERATE, _GEMMA),
    Family("gemma3", "gemma3_text", GENERATE, _GEMMA),
    Family("phi3", "phi3", GENERATE, _GROUPED),
    Family("granite", "granite", GENERATE, _GROUPED),
    Family("olmo2", "olmo2", GENERATE, _GROUPED),
    Family("mixtral", "mixtral", GENERATE, {**_GROUPED, **_EXPERTS, "num_local_experts": 4}),
    Family("qwen3_moe", "qwen3_moe", GENERATE, {**_WIDE, **_EXPERTS, "num_experts": 4, "moe_intermediate_size": 32}),
    Family("xlnet", "xlnet", GENERATE, _XLNET, *NONE),
    Family("t5", "t5", REWRITE, _T5, *THREEFOLD),
    Family("flan-t5", "t5", REWRITE, {**_T5, **_GATED}, *THREEFOLD),
    Family("mt5", "mt5", REWRITE, {**_T5, **_GATED}, *THREEFOLD),
    Family("umt5", "umt5", REWRITE, {**_T5, **_GATED}, *THREEFOLD),
    Family("bart", "bart", REWRITE, _BART, *THREEFOLD),
    Family("marian", "marian", REWRITE, _FROM_PAD, *THREEFOLD),
    Family("pegasus", "pegasus", REWRITE, _FROM_PAD, *THREEFOLD),
)


def family(name: str, task: str) -> Family:
    """The row of this name and task."""
    return next(each for each in FAMILIES if (each.name, each.task) == (name, task))


def random_model(row: Family, **options: Any) -> Any:
    """The same random weights every time (transformers, eval mode), uneven enough that every part of it counts."""
    import torch
    import transformers

    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(row.model_type, **row.config)
    made = getattr(transformers, row.model).from_config(config, **options)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return made.eval()


def checkpoint(row: Family, folder: Path) -> Path:
    """Save the row's model and a tokenizer with as many tokens, so that `compile build FOLDER` works."""
    with quiet():
        random_model(row).save_pretrained(folder)
    kind = TASKS[row.task].kind
    tokenizer(kind, left=kind == "decoder" or row.model_type == "xlnet").save_pretrained(folder)
    return folder


def tokenizer(kind: str, *, left: bool = False) -> Any:
    """A byte-level tokenizer (transformers) that frames and pads a text the way that models of this kind expect."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(SPECIAL.values()),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator([TEXT] * 8, trainer)
    frames = {
        "encoder": {"single": "<s> $A </s>", "pair": "<s> $A </s> $B:1 </s>:1"},
        "encoder-decoder": {"single": "$A </s>", "pair": "$A </s> $B </s>"},
    }
    if kind in frames:
        special = [("<s>", BEGIN), ("</s>", END)]
        made.post_processor = processors.TemplateProcessing(**frames[kind], special_tokens=special)
    extra = {"cls_token": "<s>", "sep_token": "</s>"} if kind == "encoder" else {}
    side = "left" if left else "right"
    return PreTrainedTokenizerFast(
        tokenizer_object=made, model_max_length=CONTEXT, padding_side=side, **SPECIAL, **extra
    )
