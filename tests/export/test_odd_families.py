"""Families whose code is unlike the others': what of them compiles is PyTorch's, and the rest is refused by name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from compiler.checkpoint import Checkpoint
from compiler.checkpoint.reference import Reference
from compiler.engines.onnxruntime.session import OnnxRuntimeSession
from compiler.errors import ExportError
from compiler.export import export, portable
from compiler.export.encoder_decoder import signatures
from compiler.export.graph_inputs import Signature
from compiler.export.trace import trace
from compiler.records import EngineOptions, Source
from tests.export.lowered import lower
from tests.export.test_families import close, tokens
from tests.families import CONTEXT, END, PAD, REWRITE, Family, checkpoint, family, random_model

VECTORS, FILL = "feature-extraction", "fill-mask"
BERT: dict[str, Any] = family("bert", VECTORS).config
T5: dict[str, Any] = family("t5", REWRITE).config
BART: dict[str, Any] = family("bart", REWRITE).config
HEADLESS = {name: value for name, value in BERT.items() if name != "num_attention_heads"}
MOBILE = {**BERT, "embedding_size": 32, "true_hidden_size": 16, "intra_bottleneck_size": 16}
CAPACITY = 6  # tokens of one call that an expert of Switch takes; of 20 in a text, some find no room
SWITCH = {**T5, "num_experts": 4, "expert_capacity": CAPACITY, "num_sparse_encoder_layers": 1}
BLOCKS = 16
BRANCH = (5 + 2 * 3) * BLOCKS  # tokens up to which its encoder attends to all others
SPARSE = {
    **BART,
    "attention_type": "block_sparse",
    "block_size": BLOCKS,
    "num_random_blocks": 3,
    "max_position_embeddings": 512,
}
WINDOWED = {**BERT, "attention_window": 8}
LATENTS = {"num_latents": 16, "d_latents": 32, "d_model": 32, "num_self_attends_per_block": 1, "num_blocks": 1}
STEPS = 8
FNET = Family("fnet", "fnet", VECTORS, {**HEADLESS, "hidden_size": 96})
CHUNKS = {"axial_pos_shape": [8, 16], "axial_pos_embds_dim": [16, 16], "lsh_attn_chunk_length": 8}
HASHED = {
    **{name: BERT[name] for name in BERT if name not in ("intermediate_size", "num_hidden_layers")},
    **CHUNKS,
    "attn_layers": ["local", "lsh"],
    "local_attn_chunk_length": 8,
    "num_buckets": 8,
}

ENCODERS = [
    Family("squeezebert", "squeezebert", VECTORS, {**BERT, "embedding_size": 32}),  # channels come first
    Family("mobilebert", "mobilebert", VECTORS, MOBILE),  # its embedding shifts the text by one
    Family("ibert", "ibert", VECTORS, BERT),  # norms give a scale as well
]
READERS = [
    Family("switch", "switch_transformers", REWRITE, {**SWITCH, "num_sparse_decoder_layers": 1}),
    Family("bigbird-pegasus", "bigbird_pegasus", REWRITE, SPARSE),
]
REFUSED = [
    (Family("canine", "canine", VECTORS, {**BERT, "num_hash_functions": 4, "num_hash_buckets": 64}), "no tokens"),
    (Family("perceiver", "perceiver", FILL, {"vocab_size": 300, **LATENTS}), "no tokens"),
    (
        Family("nystromformer", "nystromformer", VECTORS, {**BERT, "num_landmarks": 4, "segment_means_seq_len": 128}),
        "does not read a text alone",
    ),
    (Family("dpr", "dpr", VECTORS, BERT), "not the answers of its task"),
    (Family("longformer", "longformer", VECTORS, WINDOWED), "computed numbers"),
    (Family("reformer", "reformer", VECTORS, {**HASHED, "attention_head_size": 8}), "texts of every length"),
    (Family("led", "led", REWRITE, {**BART, "attention_window": 8}), "computed numbers"),
    (
        Family(
            "nllb-moe", "nllb-moe", REWRITE, {**BART, "num_experts": 4, "encoder_sparse_step": 2, "expert_capacity": 64}
        ),
        "computed numbers",
    ),
]


@pytest.mark.parametrize("row", ENCODERS, ids=lambda row: row.name)
def test_an_encoder(row: Family, tmp_path: Path) -> None:
    model, *graphs = lower(tmp_path, row)
    lengths = np.array([29, 7, 1, 13])
    ids = tokens(4, 29)
    mask = (np.arange(29) < lengths[:, None]).astype(np.int64)
    with torch.inference_mode():
        expected = model(input_ids=torch.tensor(ids), attention_mask=torch.tensor(mask))[0].numpy()
        alone = [model(input_ids=torch.tensor(ids[1:2, :length]))[0].numpy() for length in (1, 2, 3, 7)]
    for graph in graphs:
        kept = mask.astype(bool)
        feeds = {"token_type_ids": np.zeros_like(ids)}
        found = graph.run(input_ids=ids, attention_mask=mask, **feeds)["last_hidden_state"]
        close(found[kept], expected[kept])
        for single in alone:
            one = ids[1:2, : single.shape[1]]
            answer = graph.run(input_ids=one, attention_mask=np.ones_like(one), token_type_ids=np.zeros_like(one))
            close(answer["last_hidden_state"], single)


def test_a_fourier_transform_is_as_exact_as_pytorch(tmp_path: Path) -> None:
    """At this width ONNX Runtime's DFT errs by 1e-4 of the answers' size."""
    model, *graphs = lower(tmp_path, FNET)
    for graph in graphs:
        assert graph.operators.get("DFT", 0) == 0
        for length in (1, 2, 7, 30, 100):
            ids = tokens(2, length)
            with torch.inference_mode():
                expected = model.double()(input_ids=torch.tensor(ids))[0].numpy()
            close(graph.run(input_ids=ids, token_type_ids=np.zeros_like(ids))["last_hidden_state"], expected)


@contextmanager
def opened(folder: Path, row: Family) -> Iterator[list[tuple[Signature, OnnxRuntimeSession, int]]]:
    """Both portable graphs of an encoder-decoder, with the context that each holds for."""
    model = random_model(row)
    with ExitStack() as stack:
        graphs = []
        for traced, name in zip(signatures(model), (portable.ENCODER, portable.DECODER), strict=True):
            graph, context = trace(model, traced, model.config.to_dict().get("max_position_embeddings", CONTEXT))
            portable.tidy(graph, traced)
            portable.save(graph, folder, name)
            session = OnnxRuntimeSession(folder / name, EngineOptions(threads=1))
            stack.callback(session.close)
            graphs.append((traced, session, context))
        yield graphs


@pytest.mark.parametrize("row", READERS, ids=lambda row: row.name)
def test_an_encoder_decoder_gives_the_tokens_of_generate(row: Family, tmp_path: Path) -> None:
    model = random_model(row, attn_implementation="eager")
    text = tokens(2, 20)
    mask = np.ones_like(text)
    mask[0, 13:], text[0, 13:] = 0, PAD
    with torch.inference_mode():
        theirs = model.generate(
            torch.tensor(text),
            attention_mask=torch.tensor(mask),
            max_new_tokens=STEPS,
            min_new_tokens=STEPS,
            do_sample=False,
            num_beams=1,
            output_logits=True,
            return_dict_in_generate=True,
        )
    with opened(tmp_path, row) as ((_, encoder, context), (traced, decoder, _)):
        assert context == (BRANCH if row.name == "bigbird-pegasus" else CONTEXT)
        constants = {**encoder.run({"input_ids": text, "attention_mask": mask}), "encoder_attention_mask": mask}
        shape = traced.cache
        assert shape is not None
        empty = np.zeros((2, shape.kv_heads, 0, shape.head_dim), np.float32)
        past = {name: empty for name in traced.inputs if name.startswith("past_")}
        for step, expected in enumerate(theirs.logits):
            found = decoder.run({"input_ids": theirs.sequences[:, step : step + 1].numpy(), **past, **constants})
            past = {name: found[name.replace("past_key_values", "present")] for name in past}
            close(found["logits"][:, 0], expected.numpy())


def test_experts_of_a_decoder_have_room_for_every_token(tmp_path: Path) -> None:
    """One call of the reference is what `generate` gives token by token."""
    row = READERS[0]
    reference = Reference(checkpoint(row, tmp_path), REWRITE)
    text = tokens(1, 9)
    feeds = {"input_ids": text, "attention_mask": np.ones_like(text)}
    answer = np.full((1, 3 * CAPACITY), END)  # all of them to one expert of the first layer
    constants = {**reference.encode(feeds), "encoder_attention_mask": feeds["attention_mask"]}
    decoding = reference.decode(None, 1, answer.size, constants)
    steps = [decoding.step(token[None], np.array([at + 1])) for at, token in enumerate(answer.T)]
    close(reference.answers(feeds, answer)[0], np.concatenate(steps))


@pytest.mark.parametrize(("row", "said"), REFUSED, ids=lambda each: each.name if isinstance(each, Family) else "")
def test_what_no_graph_can_be_of_is_refused_by_name(row: Family, said: str, tmp_path: Path) -> None:
    folder = checkpoint(row, tmp_path / "checkpoint")
    config = random_model(row).config.to_dict()
    source = Source(kind="folder", name=row.name, digest="0")
    given = Checkpoint(source=source, folder=folder, task=row.task, config=config, location=row.name)
    (tmp_path / "out").mkdir()
    with pytest.raises(ExportError) as caught:
        export(given, tmp_path / "out")
    assert said in str(caught.value)
    assert row.model_type.replace("-", "").lower() in str(caught.value).lower()
    assert caught.value.found
    assert "docs/families.md" in caught.value.action
