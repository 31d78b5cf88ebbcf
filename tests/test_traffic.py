"""Shapes from recorded requests: the split is exact, the fewest buckets are taken, and bad lines are named."""

from __future__ import annotations

import itertools
import json
import random
from pathlib import Path

import msgspec
import pytest

from compiler import traffic
from compiler.errors import InputError
from compiler.records import CacheShape, Shapes
from compiler.traffic import Request, fit, read, split

ENCODER: tuple[Shapes, ...] = (
    {"batch": (1, 1, 1), "choices": (1, 4, 8), "sequence": (1, 128, 512)},
    {"batch": (1, 8, 32), "choices": (1, 4, 8), "sequence": (1, 128, 512)},
)
DECODER: tuple[Shapes, ...] = (
    {"batch": (1, 1, 8), "sequence": (1, 128, 2048), "kept": (1, 1, 512)},
    {"batch": (1, 1, 16), "sequence": (1, 1, 1)},
)


def write(folder: Path, *lines: object) -> Path:
    path = folder / "lengths.jsonl"
    path.write_text("".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines))
    return path


def alone(*lengths: int) -> traffic.Traffic:
    return {Request(length, 0): count for length, count in zip(lengths, itertools.repeat(1), strict=False)}


def exhaustive(lengths: list[int], weights: list[int], buckets: int) -> int:
    """Tokens computed with the best of all ways to cut the lengths into at most so many buckets."""
    best = None
    for cuts in itertools.combinations(range(1, len(lengths)), min(buckets, len(lengths)) - 1):
        edges = [0, *cuts, len(lengths)]
        cost = sum(lengths[end - 1] * sum(weights[begin:end]) for begin, end in itertools.pairwise(edges))
        best = cost if best is None else min(best, cost)
    assert best is not None
    return best


@pytest.mark.parametrize("seed", range(60))
def test_the_split_is_the_best_of_all(seed: int) -> None:
    dice = random.Random(seed)
    lengths = sorted(dice.sample(range(1, 600), dice.randint(1, 11)))
    weights = [dice.choice((1, 2, 50, 1000)) for _ in lengths]
    splits = split(lengths, weights, 4)
    assert len(splits) == min(4, len(lengths))
    for buckets, (computed, ends) in enumerate(splits, 1):
        assert computed == exhaustive(lengths, weights, buckets)
        assert len(ends) <= buckets
        assert list(ends) == sorted(set(ends))
        assert ends[-1] == lengths[-1]
        padded = [next(end for end in ends if end >= length) for length in lengths]
        assert computed == sum(map(int.__mul__, padded, weights))


def test_many_lengths_take_no_quadratic_time() -> None:
    lengths = list(range(1, 20_001))
    (_, _), (computed, ends) = split(lengths, [1] * len(lengths), 2)
    assert ends == (10_000, 20_000)  # of a uniform distribution, halves
    assert computed == 10_000 * 10_000 + 10_000 * 20_000


def test_padding_is_the_share_of_what_is_computed() -> None:
    found = fit({Request(10, 0): 3, Request(100, 0): 1}, ENCODER, "encoder", 512)
    assert found.padding == pytest.approx((1 - 130 / 400, 0.0), abs=1e-6)
    assert found.lengths == (10, 100)
    assert "2 buckets of at most 10, 100 tokens" in found.text
    assert "67.5% of what is computed is padding with 1 bucket, 0.0% with 2 (67.5% less)" in found.text
    assert "cut" not in found.text


def test_the_fewest_buckets_that_come_close_are_taken() -> None:
    one = fit(alone(100, 101, 102), ENCODER, "encoder", 512)
    assert len(one.padding) == 3
    assert one.lengths == (102,)  # the others spare less than 1 %
    far = fit(alone(10, 100, 1000), ENCODER, "encoder", 1024)
    assert far.lengths == (10, 100, 1000)
    assert far.padding[2] == 0.0


def test_shapes_keep_what_traffic_does_not_tell() -> None:
    found = fit({Request(10, 0): 3, Request(12, 0): 2, Request(400, 0): 1}, ENCODER, "encoder", 512)
    assert found.shapes == (
        {"batch": (1, 8, 32), "choices": (1, 4, 8), "sequence": (1, 10, 16)},
        {"batch": (1, 8, 32), "choices": (1, 4, 8), "sequence": (1, 400, 400)},
    )


def test_batches_come_from_the_file_where_it_names_them() -> None:
    requests = {Request(10, 4): 2, Request(12, 16): 1, Request(400, 0): 1}
    found = fit(requests, ENCODER, "encoder", 512)
    assert [bucket["batch"] for bucket in found.shapes] == [(1, 4, 16), (1, 1, 1)]
    # Four rows of 10 twice and sixteen of 12: rows count, not requests.
    assert found.padding[0] == pytest.approx(1 - (80 + 192 + 400) / (25 * 400), abs=1e-6)


def test_the_step_of_a_decoder_stays_as_it_is() -> None:
    found = fit(alone(30, 900), DECODER, "decoder", 2048)
    assert found.shapes == (
        {"batch": (1, 1, 8), "sequence": (1, 30, 32), "kept": (1, 1, 512)},
        {"batch": (1, 1, 8), "sequence": (1, 900, 912), "kept": (1, 1, 512)},
        DECODER[1],
    )


def test_an_encoder_decoder_is_sent_texts_to_read() -> None:
    recipe: tuple[Shapes, ...] = (
        {"encoder_sequence": (1, 128, 512), "sequence": (1, 1, 128)},
        {"encoder_sequence": (1, 128, 512), "sequence": (1, 1, 1)},
    )
    found = fit(alone(64), recipe, "encoder-decoder", 512)
    assert [(bucket["encoder_sequence"], bucket["sequence"]) for bucket in found.shapes] == [
        ((1, 64, 64), (1, 1, 128)),
        ((1, 64, 64), (1, 1, 1)),
    ]


def test_what_the_model_cannot_take_is_cut_and_said() -> None:
    found = fit({Request(10, 0): 8, Request(700, 0): 1, Request(5000, 0): 1}, ENCODER, "encoder", 512)
    assert found.lengths == (10, 512)
    assert found.cut == 2
    assert "2 of 10 requests are cut to the 512 tokens that the model takes" in found.text


def test_the_room_of_a_cache_limits_as_well(certified_cache: CacheShape) -> None:
    model = msgspec.defstruct("Model", [("kind", str), ("context_length", int)])("decoder", 4096)
    found = traffic.fit_model(alone(3000), DECODER, model, certified_cache)
    assert (found.lengths, found.limit) == ((1024,), 1024)
    assert traffic.fit_model(alone(3000), DECODER, model, None).lengths == (3000,)


@pytest.fixture
def certified_cache() -> CacheShape:
    return CacheShape(layers=1, kv_heads=1, head_dim=8, layout="shared", capacity=1024)


def test_every_form_of_a_line_is_read(tmp_path: Path) -> None:
    path = write(tmp_path, 37, {"tokens": 37}, "", {"batch": 4, "tokens": 37}, {"tokens": 37})
    assert read(path) == {Request(37, 0): 3, Request(37, 4): 1}
    path.write_bytes(b"\xef\xbb\xbf12\r\n12")
    assert read(path) == {Request(12, 0): 2}


@pytest.mark.parametrize(
    "line",
    [
        *("0", "-3", "2.5", "true", '"37"', "null", "[37]", "{", "37 38", "nan", "{}"),
        *('{"tokens": 0}', '{"tokens": 3, "batch": 0}', '{"tokens": 3, "size": 1}'),
    ],
)
def test_a_bad_line_is_named_by_its_number(tmp_path: Path, line: str) -> None:
    with pytest.raises(InputError, match="line 3: not a request") as caught:
        read(write(tmp_path, 5, "", line, 7))
    assert "tokens" in caught.value.expected
    assert caught.value.exit_code == 2


def test_an_empty_file_and_none_at_all(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no requests"):
        read(write(tmp_path, "", " "))
    with pytest.raises(InputError, match="cannot be read"):
        read(tmp_path / "nowhere")
    with pytest.raises(InputError, match="cannot be read"):
        read(tmp_path)
