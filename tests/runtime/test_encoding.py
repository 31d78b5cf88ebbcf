from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from compiler.bundle import Files
from compiler.engines import Feeds
from compiler.errors import InputError, UsageError
from compiler.records import Padding, Tensor
from compiler.runtime.encoding import BATCH_TOKENS, Encoder
from compiler.runtime.text import Text
from tests import models

TEXTS = ["ban del", "", "ban", "ban del fir gos", "gos fir"]
NAMES = ("input_ids", "attention_mask", "token_type_ids", "position_ids")


class Session:
    """Keeps what it is given, and answers with the mask, or with the number of tokens in each row."""

    def __init__(self, *, pooled: bool = False) -> None:
        self.seen: list[Feeds] = []
        self._pooled = pooled

    def run(self, feeds: Feeds) -> Feeds:
        self.seen.append(feeds)
        mask = feeds["attention_mask"]
        return {"last_hidden_state": mask.sum(axis=-1, keepdims=True) if self._pooled else mask}


def encoder(
    folder: Path,
    *,
    dims: Sequence[str] = ("batch", "sequence"),
    answers: Sequence[str] = ("batch", "sequence"),
    names: Sequence[str] = NAMES,
    padding: Padding = "hidden",
    **config: Any,
) -> Encoder:
    models.write_tokenizer(folder)
    (folder / "config.json").write_bytes(msgspec.json.encode({"pad_token_id": 0, **config}))
    manifest = models.manifest(
        "encoder",
        tuple(Tensor(name=name, dtype="int32", shape=tuple(dims)) for name in names),
        (Tensor(name="last_hidden_state", dtype="float32", shape=tuple(answers)),),
    )
    manifest = msgspec.structs.replace(manifest, padding=padding)
    return Encoder(manifest, Text(Files(folder, manifest, compared=False), manifest), "feature-extraction")


def test_every_text_with_tokens_comes_once_padded_on_the_right(tmp_path: Path) -> None:
    made, session = encoder(tmp_path), Session()
    found = {}
    for rows, mask, outputs in made.run(session, made.encode(TEXTS)):  # type: ignore[arg-type]
        assert mask.dtype == bool
        assert not (np.diff(mask.astype(int), axis=1) > 0).any()
        found |= dict(zip(rows, outputs["last_hidden_state"].sum(axis=-1).tolist(), strict=True))
    assert found == {row: len(text.split()) for row, text in enumerate(TEXTS) if text}
    (feeds,) = session.seen
    assert {feed.dtype for feed in feeds.values()} == {np.dtype(np.int32)}
    assert feeds["input_ids"].tolist()[0] == [len(models.SPECIAL), 0, 0, 0]
    assert feeds["position_ids"].tolist() == [[0, 1, 2, 3]] * 4


def test_batches_hold_no_more_than_the_cache_does(tmp_path: Path) -> None:
    made, session = encoder(tmp_path), Session()
    texts = ["ban " * (1 + index % 60) for index in range(200)]
    rows = [row for batch in made.run(session, made.encode(texts)) for row in batch.rows]  # type: ignore[arg-type]
    assert sorted(rows) == list(range(200))
    assert all(feeds["input_ids"].size <= BATCH_TOKENS for feeds in session.seen)


@pytest.mark.parametrize(
    ("answers", "config", "padded"),
    [
        (("batch", "labels"), {}, True),
        (("batch", "labels"), {"pad_token_id": None}, False),
        (("batch", "sequence"), {"pad_token_id": None}, True),
    ],
)
def test_what_reads_its_last_token_is_not_padded(
    tmp_path: Path, answers: Sequence[str], config: dict[str, Any], padded: bool
) -> None:
    made, session = encoder(tmp_path, answers=answers, **config), Session(pooled="labels" in answers)
    list(made.run(session, made.encode(TEXTS)))  # type: ignore[arg-type]
    shapes = [feeds["input_ids"].shape for feeds in session.seen]
    assert shapes == ([(4, 4)] if padded else [(1, 1), (2, 2), (1, 4)])


def test_where_padding_changes_answers_texts_of_one_length_go_together(tmp_path: Path) -> None:
    made, session = encoder(tmp_path, padding="changes answers"), Session()
    texts = [*TEXTS, "fir", "", "del"]
    found = [rows for rows, _, _ in made.run(session, made.encode(texts))]  # type: ignore[arg-type]
    assert found == [[2, 5, 7], [0, 4], [3]]
    assert all(feeds["attention_mask"].all() for feeds in session.seen)


def test_choices_are_one_row_of_several(tmp_path: Path) -> None:
    dims = ("batch", "choices", "sequence")
    made, session = encoder(tmp_path, dims=dims, answers=dims), Session()
    list(made.run(session, made.encode(["ban", "del fir"])))  # type: ignore[arg-type]
    assert {feed.shape for feed in session.seen[0].values()} == {(1, 2, 2)}


def test_an_input_that_text_does_not_give(tmp_path: Path) -> None:
    made = encoder(tmp_path, names=("input_ids", "pixels"))
    with pytest.raises(UsageError, match='"pixels"'):
        list(made.run(Session(), made.encode(["ban"])))  # type: ignore[arg-type]


def test_another_task(tmp_path: Path) -> None:
    made = encoder(tmp_path)
    with pytest.raises(UsageError, match="--task fill-mask"):
        Encoder(models.manifest("encoder", (), ()), made.text, "fill-mask")


def test_text_that_is_not_unicode(tmp_path: Path) -> None:
    made = encoder(tmp_path)
    for text in ("\ud800", ("ban", "\ud800")):
        with pytest.raises(InputError, match="Unicode"):
            made.encode([text])
