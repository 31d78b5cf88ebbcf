from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compiler.check import check
from compiler.checkpoint.reference import Reference
from compiler.corpus import evaluation_text
from compiler.errors import CheckpointError, InputError
from compiler.records import Budget, CacheShape, Manifest, Tensor
from tests import models

IDS = np.array([[5, 9, 17, 30, 8, 44], [61, 7, 7, 12, 90, 3]], dtype=np.int64)
ONES = np.ones_like(IDS)
POSITIONS = np.broadcast_to(np.arange(6), IDS.shape).copy()


@pytest.fixture(scope="module")
def decoder(tiny_decoder: Path) -> Iterator[Reference]:
    with closing(Reference(tiny_decoder, "text-generation")) as reference:
        yield reference


def test_an_encoder_answers_by_name_and_minds_its_mask(tiny_encoder: Path) -> None:
    with closing(Reference(tiny_encoder, "feature-extraction")) as reference:
        whole = reference.run({"input_ids": IDS, "attention_mask": ONES})["last_hidden_state"]
        mask = ONES.copy()
        mask[:, 4:] = 0
        padded = reference.run({"input_ids": IDS, "attention_mask": mask})["last_hidden_state"][:, :4]
        short = reference.run({"input_ids": IDS[:, :4], "attention_mask": ONES[:, :4]})["last_hidden_state"]
    assert whole.shape == (2, 6, 64)
    assert whole.dtype == np.float32
    np.testing.assert_allclose(padded, short, atol=1e-5)


def test_float64_is_float64_and_close(tiny_encoder: Path) -> None:
    feeds = {"input_ids": IDS, "attention_mask": ONES}
    with closing(Reference(tiny_encoder, "feature-extraction")) as single:
        ours = single.run(feeds)["last_hidden_state"]
    with closing(Reference(tiny_encoder, "feature-extraction", "float64")) as double:
        exact = double.run(feeds)["last_hidden_state"]
    assert exact.dtype == np.float64
    assert 0 < np.abs(exact - ours).max() < 1e-5


def test_logits_at_every_position(decoder: Reference) -> None:
    logits = decoder.logits(IDS, ONES, POSITIONS)
    assert logits.shape[:2] == (2, 6)
    np.testing.assert_allclose(decoder.run({"input_ids": IDS, "attention_mask": ONES})["logits"], logits, atol=1e-5)


def test_generate_gives_the_greedy_tokens_alone(decoder: Reference) -> None:
    tokens = decoder.generate(IDS, ONES, 5)
    assert tokens.shape == (2, 5)
    ids = IDS
    for i in range(5):
        positions = np.broadcast_to(np.arange(ids.shape[1]), ids.shape).copy()
        chosen = decoder.logits(ids, np.ones_like(ids), positions)[:, -1].argmax(axis=-1)
        assert chosen.tolist() == tokens[:, i].tolist()
        ids = np.concatenate([ids, chosen[:, None]], axis=1)


def test_decoding_step_by_step_is_the_same_as_all_at_once(decoder: Reference) -> None:
    logits = decoder.logits(IDS, ONES, POSITIONS)
    decoding = decoder.decode(None, batch=2, capacity=6)
    steps = [decoding.step(IDS[:, :4], np.array([4, 4]))]
    steps += [decoding.step(IDS[:, i : i + 1], np.array([i + 1, i + 1])) for i in (4, 5)]
    np.testing.assert_allclose(np.stack(steps, axis=1), logits[:, 3:], atol=1e-5)


def test_rows_can_be_left_out_repeated_and_reordered(decoder: Reference) -> None:
    texts = IDS[[1, 0, 1]]
    decoding = decoder.decode(None, batch=2, capacity=6)
    decoding.step(IDS[:, :4], np.array([4, 4]))
    decoding.select(np.array([1, 0, 1]))
    decoding.step(texts[:, 4:5], np.array([5, 5, 5]))
    decoding.select(np.array([1, 2]))
    found = decoding.step(texts[1:, 5:], np.array([6, 6]))
    np.testing.assert_allclose(found, decoder.logits(IDS, ONES, POSITIONS)[:, -1], atol=1e-5)


def test_a_row_goes_on_from_an_earlier_length(decoder: Reference) -> None:
    decoding = decoder.decode(None, batch=1, capacity=6)
    decoding.step(np.concatenate([IDS[:1, :3], IDS[1:, 3:]], axis=1), np.array([6]))
    decoding.truncate(3)
    found = decoding.step(IDS[:1, 3:], np.array([6]))
    np.testing.assert_allclose(found, decoder.logits(IDS, ONES, POSITIONS)[:1, -1], atol=1e-5)
    with pytest.raises(InputError, match="single row"):
        decoder.decode(None, batch=2, capacity=6).truncate(0)


def test_rows_of_unequal_length_are_refused(decoder: Reference) -> None:
    with pytest.raises(InputError, match="one length"):
        decoder.decode(None, batch=2, capacity=8).step(IDS, np.array([6, 4]))


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError):
        Reference(tmp_path, "feature-extraction")


class WithoutPast:
    """The reference as an engine: a session whose `run` takes a decoder's portable inputs."""

    def __init__(self, reference: Reference) -> None:
        self._reference = reference

    def run(self, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return self._reference.run({name: array for name, array in feeds.items() if "past" not in name})

    def decode(
        self, cache: CacheShape, batch: int, capacity: int, constants: dict[str, np.ndarray] | None = None
    ) -> RowByRow:
        return RowByRow(self._reference, batch, capacity)

    def close(self) -> None:
        self._reference.close()


class RowByRow:
    """Rows of unequal length, each with a cache of its own."""

    def __init__(self, reference: Reference, batch: int, capacity: int) -> None:
        self.capacity = capacity
        self._rows = [reference.decode(None, 1, capacity) for _ in range(batch)]
        self._lengths = [0] * batch

    def step(self, input_ids: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        new = [int(length) - before for length, before in zip(lengths, self._lengths, strict=True)]
        self._lengths = lengths.tolist()
        each = zip(self._rows, input_ids, new, self._lengths, strict=True)
        return np.concatenate([row.step(ids[None, :count], np.array([length])) for row, ids, count, length in each])

    def select(self, rows: np.ndarray) -> None:
        self._rows = [_apart(self._rows[row]) for row in rows]
        self._lengths = [self._lengths[row] for row in rows]

    def truncate(self, length: int) -> None:
        self._rows[0].truncate(length)
        self._lengths = [length]


def _apart(row: Any) -> Any:
    """The same row with a cache of its own."""
    made = copy.copy(row)
    made._cache = copy.deepcopy(row._cache)
    return made


@pytest.mark.parametrize("kind", ["encoder", "decoder"])
def test_a_checkpoint_passes_the_check_against_itself(kind: str, request: pytest.FixtureRequest) -> None:
    folder: Path = request.getfixturevalue(f"tiny_{kind}")
    about = manifest(kind)
    opened = partial(Reference, folder, about.task, threads=1)
    with closing(WithoutPast(opened())) as session:
        result = check(session, about, opened, evaluation_text(), budget=Budget(), tokenizer=folder / "tokenizer.json")
    assert result.passed, result.reasons
    assert 0 < result.noise < 1e-4
    judged = {finding.name for finding in result.findings if finding.limit is not None}
    assert "output.max_abs_error" in judged
    assert (
        judged
        == {
            "encoder": {
                "output.max_abs_error",
                "longest.max_abs_error",
                "padding.max_abs_error",
                "padding.cosine.min",
                "company.cosine.min",
                "pooling.max_relative_error",
                "vocabulary.max_abs_error",
            },
            "decoder": {
                "output.max_abs_error",
                "longest.max_abs_error",
                "longest.cache.max_abs_error",
                "longest.cache.cosine.min",
                "greedy.agreement",
                "cache.max_abs_error",
                "cache.cosine.min",
                "batch.max_abs_error",
                "batch.cosine.min",
                "company.cosine.min",
                "beams.max_abs_error",
                "beams.cosine.min",
                "continued.max_abs_error",
                "continued.cosine.min",
                "vocabulary.max_abs_error",
            },
        }[kind]
    )


def manifest(kind: str) -> Manifest:
    inputs, outputs = models.decoder_signature(shared=False)
    if kind == "decoder":
        return models.manifest("decoder", inputs, outputs, layout="concatenated")
    mask = Tensor(name="attention_mask", dtype="int64", shape=("batch", "sequence"))
    return models.manifest("encoder", (inputs[0], mask), outputs[:1])
