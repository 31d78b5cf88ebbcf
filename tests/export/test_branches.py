"""Code that computes in another way for longer texts: the context ends before."""

from __future__ import annotations

from typing import Any

import torch

from compiler.export.encoder_decoder import signatures
from compiler.export.graph_inputs import SEQUENCE, signature
from compiler.export.trace import trace
from tests.families import CONTEXT, GENERATE, REWRITE, family, random_model

BRANCH = 40


def planted(module: Any, count: Any) -> None:
    """From now on the module's answers are negative for more than `BRANCH` of what `count` counts in its arguments."""
    inner = module.forward

    def forward(*args: Any, **options: Any) -> Any:
        answer = inner(*args, **options)
        if count(*args, **options) <= BRANCH:
            return answer
        return -answer if isinstance(answer, torch.Tensor) else (-answer[0], *answer[1:])

    module.forward = forward


def tokens(states: Any, *_: Any, **__: Any) -> Any:
    return states.shape[1]


def cached(*_: Any, hidden_states: Any, past_key_values: Any, **__: Any) -> Any:
    """Tokens so far, those of this call included."""
    return hidden_states.shape[1] + past_key_values.get_seq_length()


def test_in_an_encoder() -> None:
    row = family("bert", "feature-extraction")
    model = random_model(row)
    planted(model.encoder.layer[1].intermediate, tokens)
    _, context = trace(model, signature(model, row.task), CONTEXT)
    assert context == BRANCH


def test_in_what_a_decoder_reads_at_once() -> None:
    model = random_model(family("llama", GENERATE))
    planted(model.model.layers[1].mlp, tokens)
    _, context = trace(model, signature(model, GENERATE), CONTEXT)
    assert context == BRANCH


def test_in_what_a_decoder_has_kept() -> None:
    """The tracer bounds what was kept alone, by less than the sum may be; the context is both."""
    model = random_model(family("llama", GENERATE))
    traced = signature(model, GENERATE)
    planted(model.model.layers[1].self_attn, cached)
    _, context = trace(model, traced, CONTEXT)
    assert BRANCH - SEQUENCE <= context <= BRANCH


def test_in_the_encoder_of_an_encoder_decoder() -> None:
    model = random_model(family("t5", REWRITE))
    planted(model.encoder.block[1].layer[1], tokens)
    encoder, _ = signatures(model)
    _, context = trace(model, encoder, CONTEXT)
    assert context == BRANCH
