"""Generation with a cache: both layouts, whatever the steps, and with rows that come, go and go back."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
import onnx
import pytest
from msgspec.structs import replace

from compiler.engines import Session, memory
from compiler.engines.recompute import RecomputeDecoding
from compiler.errors import ContextError, InputError
from compiler.records import CacheShape
from tests import models
from tests.engines.decoders import LAYOUTS, TOKENS, cache, open_session, teacher_forced


@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_split_into_steps_gives_the_same_logits(folders: dict[str, Path], layout: str) -> None:
    session = open_session(folders[layout])
    whole = np.concatenate([teacher_forced(session, layout, TOKENS[:size], [size]) for size in (8, 9, 10, 20, 24)])
    split = teacher_forced(session, layout, TOKENS, [8, 1, 1, 10, 4])
    assert split.shape == (5, models.VOCABULARY)
    np.testing.assert_allclose(split, whole, atol=1e-5)


def test_both_layouts_agree(folders: dict[str, Path]) -> None:
    chunks = [5, *[1] * 19]
    shared, concatenated = (teacher_forced(open_session(folders[layout]), layout, TOKENS, chunks) for layout in LAYOUTS)
    np.testing.assert_allclose(shared, concatenated, atol=1e-5)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_rows_of_unequal_length_do_not_see_each_other(folders: dict[str, Path], layout: str) -> None:
    session = open_session(folders[layout])
    lengths = np.array([3, 7, 5])
    prompts = np.where(np.arange(7) < lengths[:, None], TOKENS[:21].reshape(3, 7), 0)
    decoding = session.decode(cache(layout), 3, 16)
    together = [decoding.step(prompts, lengths).copy()]
    new = TOKENS[:9].reshape(3, 3)
    grows = np.array([1, 0, 1])  # the second row has finished
    for step in range(3):
        lengths = lengths + grows
        together.append(decoding.step(new[:, step : step + 1], lengths).copy())
    for row in (0, 2):
        size = int(lengths[row]) - 3
        tokens = np.concatenate([prompts[row, :size], new[row]])
        alone = teacher_forced(session, layout, tokens, [size, 1, 1, 1])
        np.testing.assert_allclose(np.stack([logits[row] for logits in together]), alone, atol=1e-5)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_rows_can_be_left_out_repeated_and_reordered(folders: dict[str, Path], layout: str) -> None:
    session = open_session(folders[layout])
    texts = [TOKENS[:3].tolist(), TOKENS[3:10].tolist(), TOKENS[10:15].tolist()]
    decoding = session.decode(cache(layout), 3, 16)
    prompts = np.array([text + [0] * (7 - len(text)) for text in texts])
    decoding.step(prompts, np.array([3, 7, 5]))
    for rows, new in [
        ([2, 0, 0, 2, 1], [10, 11, 12, 13, 14]),  # more
        ([1, 0, 3, 4, 3], [15, 16, 17, 18, 19]),  # as many, in another order
        ([0, 1, 2, 3, 4], [20, 21, 22, 23, 24]),
        ([4, 0], [25, 26]),  # fewer
    ]:
        decoding.select(np.array(rows))
        texts = [[*texts[row], token] for row, token in zip(rows, new, strict=True)]
        found = decoding.step(np.array(new)[:, None], np.array([len(text) for text in texts]))
        for logits, text in zip(found, texts, strict=True):
            alone = teacher_forced(session, layout, np.array(text), [len(text)])[0]
            np.testing.assert_allclose(logits, alone, atol=1e-5)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_row_goes_on_from_any_earlier_length(folders: dict[str, Path], layout: str) -> None:
    session = open_session(folders[layout])
    decoding = session.decode(cache(layout), 2, 24)
    decoding.step(np.stack([TOKENS[:8], TOKENS[8:16]]), np.array([5, 8]))  # the first is padded
    decoding.select(np.array([0]))
    text = TOKENS[:5]
    for length, new in [(5, TOKENS[20:24]), (7, TOKENS[3:4]), (8, TOKENS[:2]), (2, TOKENS[9:15]), (0, TOKENS[5:9])]:
        decoding.truncate(length)
        text = np.concatenate([text[:length], new])
        found = decoding.step(new[None], np.array([len(text)]))
        np.testing.assert_allclose(found, teacher_forced(session, layout, text, [len(text)]), atol=1e-5)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_truncating_what_is_not_there_is_an_error(folders: dict[str, Path], layout: str) -> None:
    session = open_session(folders[layout])
    decoding = session.decode(cache(layout), 1, 8)
    decoding.step(TOKENS[None, :4], np.array([4]))
    with pytest.raises(InputError, match=r"5\n.*0 to 4"):
        decoding.truncate(5)
    with pytest.raises(InputError, match="single row"):
        session.decode(cache(layout), 2, 8).truncate(0)


@pytest.mark.parametrize("length", [-1, 5])
def test_truncating_a_generation_without_a_cache_is_held_to_the_same(length: int) -> None:
    decoding = RecomputeDecoding(cast("Session", Reading()), 1, 8, {})
    decoding.step(TOKENS[None, :4], np.array([4]))
    with pytest.raises(InputError, match="0 to 4"):
        decoding.truncate(length)
    decoding.truncate(3)
    assert decoding.step(TOKENS[None, :1], np.array([4])).tolist() == [[4.0]]


class Reading:
    """A session that says how many tokens it read."""

    def run(self, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {"logits": np.full((1, 1, 1), feeds["attention_mask"].sum(), np.float32)}


def test_constants_by_row_follow_the_rows(tmp_path: Path) -> None:
    """A model that adds up its token, a bias of its row and one for all."""
    model = onnx.parser.parse_model("""
        <ir_version: 10, opset_import: ["" : 21]>
        sum (int64[batch, sequence] input_ids, float[batch, 2] bias, float[2] all) => (float[batch, sequence, 2] logits)
        {
            one = Constant <value = int64[1] {1}> ()
            two = Constant <value = int64[1] {2}> ()
            row = Unsqueeze (bias, one)
            number = Cast <to = 1> (input_ids)
            token = Unsqueeze (number, two)
            first = Add (token, row)
            logits = Add (first, all)
        }
    """)
    onnx.save(model, tmp_path / "model.onnx")
    none = CacheShape(layers=0, kv_heads=1, head_dim=1)
    bias = np.array([[1, 2], [3, 4]], np.float32)
    constants = {"bias": bias, "all": np.array([0, 0.5], np.float32)}
    decoding = open_session(tmp_path).decode(none, 2, 16, constants)
    assert decoding.step(np.array([[10], [20]]), np.array([1, 1])).tolist() == [[11, 12.5], [23, 24.5]]
    decoding.select(np.array([1, 1, 0]))
    assert decoding.step(np.array([[0], [1], [2]]), np.full(3, 2)).tolist() == [[3, 4.5], [4, 5.5], [3, 4.5]]
    decoding.select(np.array([1, 0, 2]))
    decoding.select(np.array([2, 1]))
    assert decoding.step(np.array([[0], [0]]), np.full(2, 3)).tolist() == [[1, 2.5], [3, 4.5]]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_full_cache_is_an_error(folders: dict[str, Path], layout: str) -> None:
    decoding = open_session(folders[layout]).decode(cache(layout), 1, 4)
    decoding.step(TOKENS[None, :4], np.array([4]))
    with pytest.raises(ContextError, match=r"5 tokens\n.*at most 4"):
        decoding.step(TOKENS[None, :1], np.array([5]))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_cache_beyond_memory_is_refused_before_it_is_taken(
    folders: dict[str, Path], layout: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = open_session(folders[layout])
    times = 2 if layout == "concatenated" else 1  # the cache before and after a step
    size = times * 2 * models.LAYERS * 3 * models.KV_HEADS * 16 * models.HEAD_DIM * 4
    monkeypatch.setattr(memory, "available_memory", lambda: size)
    decoding = session.decode(cache(layout), 3, 16)
    decoding.step(TOKENS[:3].reshape(3, 1), np.array([1, 1, 1]))
    for ask in (lambda: session.decode(cache(layout), 3, 17), lambda: decoding.select(np.array([0, 0, 1, 2]))):
        with pytest.raises(InputError, match="cache does not fit into memory"):
            ask()
    assert decoding.step(TOKENS[:3].reshape(3, 1), np.array([2, 2, 2])).shape == (3, models.VOCABULARY)
    with pytest.raises(InputError, match=r"GB for 1000000 rows of 2147483647 tokens"):
        session.decode(replace(cache(layout), capacity=2**31 - 1), 10**6, 16)
