"""Every family: what stays whole and what is fused, and that both graphs compute what PyTorch computes.

Lengths are others than the traced ones, rows are unequal, and those of a decoder end at, just under and just over its
sliding window, and at the end of the context.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from compiler.errors import ExportError
from compiler.export.encoder_decoder import signatures
from compiler.export.graph_inputs import signature
from compiler.optimize.passes.fold_constants import FoldConstants
from compiler.optimize.passes.last_token_logits import LastTokenLogits
from compiler.optimize.passes.scatter_cache import ScatterCache
from compiler.optimize.passes.split_softcap import SplitSoftcap
from tests.export.lowered import Graph, lower, optimized
from tests.families import CONTEXT, FAMILIES, GENERATE, REWRITE, VOCABULARY, Family, family, random_model

ENCODERS = [row for row in FAMILIES if row.task == "feature-extraction"]
DECODERS = [row for row in FAMILIES if row.task == GENERATE and row.name != "xlnet"]
# Attention sinks: no family of the catalogue has them.
SINKS = family("qwen3_moe", GENERATE)._replace(
    name="gpt_oss",
    model_type="gpt_oss",
    fused=0,
    config={**family("gemma2", GENERATE).config, "num_local_experts": 4, "num_experts_per_tok": 2},
)
# Bodies of decoders that read a text at once: nobody needs the keys that their windows would keep.
WINDOWED = [
    row._replace(name=f"{row.name}-{kind}", task="feature-extraction", fused=0, config={**row.config, **more})
    for row, kind, more in (
        (family("gemma3", GENERATE), "both-ways", {"use_bidirectional_attention": True}),
        (family("mistral", GENERATE), "causal", {}),
    )
]
# Reads a text and, shifted by one, the same again: what is left of two tokens is one.
SHIFTED = family("bart", REWRITE)._replace(name="bart-shifted", task="feature-extraction", whole=6, fused=6)
WINDOW, STEPS = 8, 9  # the catalogue's windows, and decoding steps
SHORT = (1, 2, 7)  # tokens of a text alone; graphs are traced with 5
TOLERANCE = 3e-6  # of the largest answer


def tokens(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).integers(4, VOCABULARY, shape)


def close(found: np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE * float(np.abs(expected).max()))


def hold_counts(row: Family, portable: Graph, lowered: Graph) -> None:
    assert portable.operators.get("Attention", 0) == row.whole, portable.operators
    fused = [lowered.operators.get(name, 0) for name in ("MultiHeadAttention", "GroupQueryAttention")]
    assert sum(fused) == row.fused, lowered.operators


def hold_fixed(row: Family, graph: Graph) -> None:
    """A cache of fixed capacity, but where a bias counts columns (ALiBi)."""
    growing = row.name == "bloom"
    assert (graph.cache.layout, graph.cache.capacity) == (("concatenated", None) if growing else ("shared", CONTEXT))
    assert graph.operators.get("TensorScatter", 0) == (0 if growing else 2 * graph.cache.layers)


@pytest.mark.parametrize("row", [*ENCODERS, *WINDOWED, SHIFTED], ids=lambda row: row.name)
def test_an_encoder(row: Family, tmp_path: Path) -> None:
    model, *graphs = lower(tmp_path, row)
    hold_counts(row, *graphs)
    lengths = np.array([29, 7, 1, 13])
    ids = tokens(4, 29)
    mask = (np.arange(29) < lengths[:, None]).astype(np.int64)
    types = np.broadcast_to((np.arange(29) > 9).astype(np.int64), ids.shape).copy()
    with torch.inference_mode():
        feeds = {"input_ids": torch.tensor(ids), "attention_mask": torch.tensor(mask)}
        alone = [model(input_ids=feeds["input_ids"][1:2, :length])[0].numpy() for length in SHORT]
        if "token_type_ids" in [tensor.name for tensor in graphs[0].record.inputs]:
            feeds["token_type_ids"] = torch.tensor(types)
        expected = model(**feeds)[0].numpy()
    for graph in graphs:
        found = graph.run(input_ids=ids, attention_mask=mask, token_type_ids=types)["last_hidden_state"]
        close(found[mask.astype(bool)], expected[mask.astype(bool)])
        for length, single in zip(SHORT, alone, strict=True):
            one = {"input_ids": ids[1:2, :length], "attention_mask": mask[1:2, :length]}
            close(graph.run(**one, token_type_ids=np.zeros((1, length), np.int64))["last_hidden_state"], single)


@pytest.mark.parametrize("row", [*DECODERS, SINKS], ids=lambda row: row.name)
def test_a_decoder(row: Family, tmp_path: Path) -> None:
    model, *graphs = lower(tmp_path, row)
    hold_counts(row, *graphs)
    graphs.append(optimized(graphs[0], [FoldConstants(), LastTokenLogits(), ScatterCache(), SplitSoftcap()], "fixed"))
    hold_fixed(row, graphs[-1])
    prompts = [1, WINDOW - STEPS // 2, WINDOW - 1, WINDOW, WINDOW + 1, CONTEXT - STEPS]
    text = tokens(len(prompts), CONTEXT)
    with torch.inference_mode():
        logits = model(input_ids=torch.tensor(text)).logits.numpy()
    expected = np.stack([logits[i, length - 1 : length + STEPS] for i, length in enumerate(prompts)])
    following = np.stack([text[i, length : length + STEPS] for i, length in enumerate(prompts)])
    for graph in graphs:
        close(graph.decode([text[i, :length] for i, length in enumerate(prompts)], following), expected)


def test_a_permutation_language_model_generates_as_transformers_does(tmp_path: Path) -> None:
    model, *graphs = lower(tmp_path, family("xlnet", GENERATE))
    prompts = [tokens(15)[:length] for length in (3, 15, 8)]
    theirs = [generated(model, prompt, 48) for prompt in prompts]
    following = np.stack([steps[:-1] for steps, _ in theirs])
    expected = np.stack([logits for _, logits in theirs])
    for graph in graphs:
        found = graph.decode(prompts, following)
        close(found, expected)
        np.testing.assert_array_equal(found.argmax(axis=-1), expected.argmax(axis=-1))


def generated(model: Any, prompt: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Greedy tokens (count,) of XLNet's own `generate`, and the logits (count, vocabulary) that it chose from.

    It does not mask padding, so each prompt goes alone. Its memory keeps states that have not seen the tokens after
    them; without it every step reads the whole text.
    """
    with torch.inference_mode():
        found = model.generate(
            torch.tensor(prompt[None]),
            use_mems=False,
            max_new_tokens=count,
            max_length=None,
            do_sample=False,
            eos_token_id=None,
            output_logits=True,
            return_dict_in_generate=True,
        )
    return found.sequences[0, len(prompt) :].numpy(), torch.cat(found.logits).numpy()


def test_fsmt_sees_no_later_token_where_keys_are_kept() -> None:
    """Left alone it masks nothing then, since `generate` gives it single tokens; the graph takes several."""
    sides = ("encoder", "decoder")
    shape = {f"{side}_{name}": size for side in sides for name, size in (("layers", 2), ("attention_heads", 4))}
    config = {**shape, "d_model": 32, "src_vocab_size": VOCABULARY, "tgt_vocab_size": VOCABULARY, "langs": ["a", "b"]}
    model = random_model(Family("fsmt", "fsmt", REWRITE, config))
    text, answer = torch.tensor(tokens(2, 9)), torch.tensor(tokens(2, 7))
    mask = torch.ones_like(text)
    mask[0, 6:] = 0
    with torch.inference_mode():
        expected = model(input_ids=text, attention_mask=mask, decoder_input_ids=answer, use_cache=False).logits
        encoder, decoder = signatures(model)
        crossed = encoder.module(text, mask)
        kept = [torch.zeros(2, 4, 0, 8)] * 4
        found = []
        for part in (answer[:, :4], answer[:, 4:]):
            logits, *kept = decoder.module(part, mask, *kept, *crossed)
            found.append(logits)
    close(torch.cat(found, dim=1).numpy(), expected.numpy())


@pytest.mark.parametrize("name", ["t5", "marian"])
def test_a_decoder_that_wants_an_answer_embeds_nothing(name: str) -> None:
    row = family(name, REWRITE)._replace(task="feature-extraction")
    with pytest.raises(ExportError, match="does not read a text alone") as caught:
        signature(random_model(row), row.task)
    assert "ValueError" in caught.value.found
    assert "text2text-generation" in caught.value.action
