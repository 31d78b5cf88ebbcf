"""Representative inputs for calibration, made from English text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tokenizers import Encoding, Tokenizer

from compiler.corpus import calibration_text
from compiler.errors import CheckpointError
from compiler.optimize.passes.base import Feeds
from compiler.reading import foreign
from compiler.records import Exported

BATCH = 4
SHORTEST = 2  # tokens
RARE = ((24, 64), (64, 4))  # texts of tokens that running text lacks, and tokens in each
CHARACTERS = 12  # per token, more than English has


def text_feeds(tokenizer_file: Path, exported: Exported, count: int, length: int, seed: int) -> Sequence[Feeds]:
    """Feeds of real text: `count` passages of up to `length` tokens, drawn from all over the calibration text.

    They come in batches, padded on the right: of unequal lengths for encoders, short ones as often as long ones (their
    logarithms are spread evenly), full passages and an empty cache for decoders. Where a model tells the two texts of a
    pair apart, every other passage is a pair; where it chooses, a batch is one question's choices. A feed names every
    input that a portable or lowered graph of this kind may have; take those it has.

    Raises:
        CheckpointError: the tokenizer cannot be read, or its tokens do not fit the model's vocabulary.
    """
    tokenizer = _tokenizer(tokenizer_file)
    longest = min(length, exported.context_length)
    shortest = longest if exported.kind == "decoder" else min(SHORTEST, longest)
    added = [tokenizer.num_special_tokens_to_add(pair) + pair for pair in (False, True)]  # of less, nothing is cut
    rng = np.random.default_rng(seed)
    texts = calibration_text()
    sizes = np.array([len(text) for text in texts], dtype=np.float64)
    paired = any(tensor.name == "token_type_ids" for tensor in exported.inputs)
    kinds = 2 if paired else 1
    places = [rng.permutation(-(-count // kinds)) for _ in range(kinds)]
    passages: list[Encoding] = []
    for index in rng.choice(len(texts), size=count, p=sizes / sizes.sum()):
        turn, pair = divmod(len(passages), kinds)
        least = min(max(shortest, added[pair]), longest)
        kept = int(least * ((longest + 1) / least) ** ((places[pair][turn] + rng.random()) / len(places[pair])))
        tokenizer.enable_truncation(kept)
        start = int(rng.integers(0, max(1, len(texts[index]) - CHARACTERS * longest)))
        passage = texts[index][start : start + CHARACTERS * longest]
        # tokenizers keeps what it cuts off, of a pair as pieces by the square of its length: gigabytes for a byte each.
        read = [passage[: CHARACTERS * kept]]
        if pair:
            read.append(passage[len(passage) // 2 :][: CHARACTERS * kept // 2])  # the longer one is cut first
        with foreign(CheckpointError, f"{tokenizer_file}: the tokenizer fails at plain text"):
            passages.append(tokenizer.encode(*read))
    _check(passages, tokenizer_file, exported)
    return [_feed(passages[start : start + BATCH], exported) for start in range(0, count, BATCH)]


def rare_feeds(exported: Exported, seed: int) -> Sequence[Feeds]:
    """Feeds like those of `text_feeds`, of tokens in any order: all of a small vocabulary, of a large one some.

    Text has few of a vocabulary's tokens, and the numbers that others make may be far out of the range of those.
    """
    rng = np.random.default_rng(seed)
    texts = []
    for count, most in RARE:
        length = min(most, exported.context_length)
        times = -(-count * length // exported.vocabulary)
        tokens = np.concatenate([rng.permutation(exported.vocabulary) for _ in range(times)])[: count * length]
        texts += [_Tokens(row.tolist(), [0] * length) for row in tokens.reshape(count, length)]
    return [_feed(texts[start : start + BATCH], exported) for start in range(0, len(texts), BATCH)]


class _Tokens(NamedTuple):
    """What `_feed` reads of an Encoding."""

    ids: list[int]
    type_ids: list[int]


def _tokenizer(file: Path) -> Tokenizer:
    with foreign(CheckpointError, f"{file}: not a readable tokenizer"):
        tokenizer = Tokenizer.from_file(str(file))
    tokenizer.no_padding()
    return tokenizer


def _check(passages: list[Encoding], tokenizer_file: Path, exported: Exported) -> None:
    largest = max(max(passage.ids, default=0) for passage in passages)
    if largest >= exported.vocabulary:
        raise CheckpointError(
            f"{tokenizer_file}: does not belong to this model",
            found=f"token {largest}",
            expected=f"tokens below {exported.vocabulary}, the size of the model's vocabulary",
            action="use the tokenizer that the model was trained with",
        )


def _feed(passages: Sequence[Encoding | _Tokens], exported: Exported) -> Feeds:
    lengths = np.array([len(passage.ids) for passage in passages], dtype=np.int64)[:, None]
    width = int(lengths.max())
    columns = np.arange(width, dtype=np.int64)
    feed: Feeds = {
        "input_ids": _padded([passage.ids for passage in passages], width),
        "attention_mask": (columns < lengths).astype(np.int64),
        "token_type_ids": _padded([passage.type_ids for passage in passages], width),
        "position_ids": np.tile(columns, (len(passages), 1)),
        "logits_positions": lengths - 1,
    }
    if exported.cache is not None:
        empty = np.zeros((len(passages), exported.cache.kv_heads, 0, exported.cache.head_dim), dtype=np.float32)
        for layer in range(exported.cache.layers):
            feed[f"past_key_values.{layer}.key"] = feed[f"past_key_values.{layer}.value"] = empty
    if exported.task == "multiple-choice":
        feed = {name: array[None] for name, array in feed.items()}
    for tensor in exported.inputs:
        if tensor.name.startswith("adapter."):  # the base, whose matrices have rank 0
            shape = [0 if dim == "rank" else int(dim) for dim in tensor.shape]
            feed[tensor.name] = np.zeros(shape, tensor.dtype)
    return feed


def _padded(rows: list[list[int]], width: int) -> np.ndarray:
    return np.array([row + [0] * (width - len(row)) for row in rows], dtype=np.int64)
