from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import ml_dtypes
import numpy as np
import pytest
import torch
import transformers

from compiler.check.limits import ROUNDING_FACTOR, Limits
from compiler.check.noise import Noise
from compiler.check.rounding import DRAWS, WORST, Rounded, method_of, rounded_answers, rounding_findings
from compiler.checkpoint.rounded import Method, Rounding, fine_weights, rounded
from compiler.records import Budget, PassRun

GIVEN, WEIGHT = (
    np.random.default_rng(seed).normal(size=size).astype(np.float32) for seed, size in ((0, (5, 40)), (1, (24, 40)))
)
LIMITS = Limits("int8-dynamic", Budget(), Noise(1e-7))


def product(method: Method, weight: np.ndarray = WEIGHT, *, head: bool = False, fewer: int = 0) -> np.ndarray:
    """GIVEN @ weight^T of a linear layer that rounds."""
    layer = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    layer.weight.data = torch.from_numpy(weight)
    forward = rounded(layer.forward, Rounding(method, fewer), [layer.weight] if head else ())
    with torch.inference_mode():
        return forward(torch.from_numpy(GIVEN)).numpy()


def nearest(values: np.ndarray, scale: np.ndarray | np.floating[Any]) -> np.ndarray:
    return np.rint(values / scale) * scale


def blocks(values: np.ndarray, top: int) -> np.ndarray:
    """In blocks of 32 along the last axis, and what is left."""
    parts = values[:, :32], values[:, 32:]
    return np.concatenate([nearest(each, np.abs(each).max(axis=1, keepdims=True) / top) for each in parts], axis=1)


def ranges(values: np.ndarray) -> np.ndarray:
    parts = []
    for each in (values[:, :32], values[:, 32:]):
        low, high = np.minimum(each.min(1, keepdims=True), 0), np.maximum(each.max(1, keepdims=True), 0)
        scale = (high - low) / 15
        zero = np.rint(-low / scale)
        parts.append((np.clip(np.rint(each / scale) + zero, 0, 15) - zero) * scale)
    return np.concatenate(parts, axis=1)


def per_row(values: np.ndarray, top: int) -> np.ndarray:
    return nearest(values, np.abs(values).max(axis=1, keepdims=True) / top)


def float8(values: np.ndarray, largest: np.ndarray | np.floating[Any]) -> np.ndarray:
    return (values / largest * 448).astype(ml_dtypes.float8_e4m3fn).astype(np.float32) * largest / 448


@pytest.mark.parametrize(
    ("method", "given", "codes"),
    [
        ("rows", per_row(GIVEN, 127), per_row(WEIGHT, 63)),
        ("tensor", nearest(GIVEN, np.abs(GIVEN).max() / 127), per_row(WEIGHT, 63)),
        ("static", nearest(GIVEN, np.abs(GIVEN).max() / 127), per_row(WEIGHT, 63)),
        ("wide", nearest(GIVEN, np.abs(GIVEN).max() / 127), per_row(WEIGHT, 127)),
        ("float8", float8(GIVEN, np.abs(GIVEN).max()), float8(WEIGHT, np.abs(WEIGHT).max(axis=1, keepdims=True))),
        ("int8", blocks(GIVEN, 127), blocks(WEIGHT, 127)),
        ("int4", blocks(GIVEN, 127), ranges(WEIGHT)),
        ("mixed", blocks(GIVEN, 127), ranges(WEIGHT)),
        ("weights-int8", GIVEN, per_row(WEIGHT, 127)),
        ("weights-int4", GIVEN, per_row(WEIGHT, 7)),  # blocks are longer than its rows
        ("weights-mixed", GIVEN, per_row(WEIGHT, 7)),
    ],
)
def test_a_product_is_that_of_rounded_numbers(method: Method, given: np.ndarray, codes: np.ndarray) -> None:
    np.testing.assert_allclose(product(method), given @ codes.T, atol=1e-5)


def test_weights_that_were_rounded_before_are_rounded_again() -> None:
    """Blocks that begin at any number, as those of Q4_1, have no code for zero."""
    rng = np.random.default_rng(0)
    stored = rng.integers(0, 16, (24, 40))
    stored[:, [0, 32]], stored[:, [1, 33]] = 0, 15
    weight = (0.1 * stored - 0.73).astype(np.float32)
    errors = product("int4", weight) - product("int8", weight)
    assert 0.02 < np.square(errors).mean() ** 0.5 < 0.5


def test_a_fixed_scale_is_that_of_the_largest_number_so_far() -> None:
    layer = torch.nn.Linear(40, 24, bias=False)
    layer.weight.data = torch.from_numpy(WEIGHT)
    forward = rounded(layer.forward, Rounding("static"))
    with torch.inference_mode():
        forward(torch.from_numpy(10 * GIVEN))
        later = forward(torch.from_numpy(GIVEN)).numpy()
    expected = nearest(GIVEN, 10 * np.abs(GIVEN).max() / 127) @ per_row(WEIGHT, 63).T
    np.testing.assert_allclose(later, expected, atol=1e-5)


@pytest.mark.parametrize(("method", "bits"), [("float16", 11), ("bfloat16", 8)])
def test_narrow_formats_round_products_and_sums(method: Method, bits: int) -> None:
    dtype = {"float16": np.float16, "bfloat16": ml_dtypes.bfloat16}[method]

    def narrow(values: np.ndarray) -> np.ndarray:
        return values.astype(dtype).astype(np.float32)

    np.testing.assert_allclose(product(method), narrow(narrow(GIVEN) @ narrow(WEIGHT).T), rtol=2.0**-bits, atol=1e-4)
    one, other = torch.from_numpy(GIVEN), torch.from_numpy(GIVEN[::-1].copy())
    for add in (lambda: one + other, lambda: torch.add(one, other)):
        np.testing.assert_array_equal(rounded(add, Rounding(method))(), narrow(GIVEN + GIVEN[::-1]))
    table = torch.nn.functional.embedding
    looked = rounded(lambda: table(torch.tensor([3, 1]), one), Rounding(method))
    np.testing.assert_array_equal(looked(), narrow(GIVEN)[[3, 1]])


def test_narrow_formats_leave_what_they_cannot_hold_and_angles() -> None:
    large = torch.tensor([70000.0, -3e38, float("-inf"), 1.0001])
    kept = rounded(lambda: large + 0, Rounding("float16"))()
    np.testing.assert_array_equal(kept, np.array([70000.0, -3e38, -np.inf, 1.0], np.float32))
    positions, frequencies = torch.arange(1000.0)[:, None], torch.rand(1, 8)
    angles = rounded(lambda: positions @ frequencies, Rounding("bfloat16"))()
    np.testing.assert_array_equal(angles, positions @ frequencies)


@pytest.mark.parametrize(
    "method", ["float16", "bfloat16", "float8", "wide", "int8", "int4", "weights-int8", "weights-int4"]
)
def test_other_roundings_have_other_errors_of_about_the_same_size(method: Method) -> None:
    errors = [np.sqrt(np.square(product(method, fewer=fewer) - GIVEN @ WEIGHT.T).mean()) for fewer in range(DRAWS)]
    assert len(set(errors)) == DRAWS
    assert max(errors) < 1.6 * min(errors)


class Decoder(torch.nn.Module):
    """A head, a wide product and a narrow one that are as large, and GPT-2's kind of wide product."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = torch.nn.Linear(32, 64, bias=False), torch.nn.Linear(64, 32, bias=False)
        self.old, self.head = transformers.pytorch_utils.Conv1D(48, 32), torch.nn.Linear(32, 99, bias=False)

    def get_output_embeddings(self) -> torch.nn.Module:
        return self.head


def test_the_narrowest_half_of_the_weights_has_eight_bits_where_formats_are_mixed() -> None:
    model = Decoder()
    assert [id(each) for each in fine_weights(model, "int4")] == [id(model.head.weight)]
    for method in ("mixed", "weights-mixed"):
        assert [id(each) for each in fine_weights(model, method)] == [id(model.head.weight), id(model.down.weight)]


def test_the_head_has_eight_bits_and_small_matrices_are_exact() -> None:
    np.testing.assert_allclose(product("int4", head=True), product("int8"), atol=1e-6)
    np.testing.assert_allclose(product("weights-int4", head=True), product("weights-int8"), atol=1e-6)
    np.testing.assert_allclose(product("int4", WEIGHT[:15]), GIVEN @ WEIGHT[:15].T, atol=1e-5)


def test_fewer_codes_give_other_errors_of_about_the_same_size() -> None:
    errors = [np.sqrt(np.square(product("rows", fewer=fewer) - GIVEN @ WEIGHT.T).mean()) for fewer in range(3)]
    assert len(set(errors)) == 3
    assert max(errors) < 1.3 * min(errors)


def test_products_that_are_no_linear_layers_round_too_and_tables_where_blocks_do() -> None:
    matrix = torch.nn.Parameter(torch.from_numpy(WEIGHT.T.copy()))
    given = torch.from_numpy(GIVEN)
    for forward in (lambda x: x @ matrix, lambda x: torch.addmm(torch.zeros(24), x, matrix)):
        with torch.inference_mode():
            np.testing.assert_allclose(rounded(forward, Rounding("rows"))(given), product("rows"), atol=1e-5)
    table = torch.from_numpy(WEIGHT)
    look_up = rounded(lambda: torch.nn.functional.embedding(torch.tensor([3, 1]), table), Rounding("int4"))
    np.testing.assert_allclose(look_up(), blocks(WEIGHT, 127)[[3, 1]], atol=1e-6)
    between = rounded(lambda: given @ table.T, Rounding("rows"))  # two activations, as in attention
    np.testing.assert_array_equal(between(), given @ table.T)


def ran(name: str, **options: object) -> PassRun:
    return PassRun(name=name, options=options, modified=True, kept=True, nodes_before=1, nodes_after=1, seconds=0.0)


@pytest.mark.parametrize(
    ("name", "options", "method"),
    [
        ("quantize-weights", {"bits": 8}, "int8"),
        ("quantize-weights", {"bits": 4, "int8_share": 0.5}, "mixed"),
        ("quantize-weights", {"bits": 4, "int8_share": 0.0}, "int4"),
        ("quantize-per-token", {}, "rows"),
        ("quantize-dynamic", {"per_channel": True}, "tensor"),
        ("quantize-dynamic", {"per_channel": False}, None),
        ("quantize-static", {"format": "uint8", "per_channel": True}, "static"),
        ("quantize-static", {"format": "int8", "per_channel": True}, "wide"),
        ("quantize-static", {"format": "float8", "per_channel": True}, "float8"),
        ("quantize-static", {"format": "int8", "per_channel": False}, None),
        ("mixed-precision", {"dtype": "bfloat16"}, "bfloat16"),
        ("quantize-weights-dq", {"format": "int8"}, "weights-int8"),
        ("quantize-weights-dq", {"format": "int4", "int8_share": 0.5}, "weights-mixed"),
        ("quantize-weights-dq", {"format": "int4", "int8_share": 0.0}, "weights-int4"),
        ("quantize-weights-dq", {"format": "int4", "head_bits": 4}, None),
        ("quantize-weights-dq", {"format": "float4"}, None),
        ("fuse-gelu", {}, None),
    ],
)
def test_the_passes_say_how_an_engine_rounds(name: str, options: dict[str, object], method: Method | None) -> None:
    assert method_of([ran("fold-constants"), ran(name, **options)]) == method
    if name.startswith("quantize"):  # fewer bits decide, wherever the pass stands
        assert method_of([ran("mixed-precision", dtype="float16"), ran(name, **options)]) == method


EXACT = np.zeros((200, 64), np.float32)


def noisy(size: float, seed: int, shape: tuple[int, ...] = EXACT.shape) -> np.ndarray:
    return (size * np.random.default_rng(seed).normal(size=shape)).astype(np.float32)


class Roundings:
    """References that round, each a little differently; `answers` of one."""

    def __init__(self, *answers: np.ndarray) -> None:
        self.given = answers
        self.opened: list[int] = []

    def __call__(self, arithmetic: object) -> Any:
        self.opened.append(cast("Rounding", arithmetic).fewer)
        self.answers = self.given[min(len(self.opened), len(self.given)) - 1]
        return self

    def close(self) -> None:
        pass


def asked(references: Roundings, exact: np.ndarray = EXACT, method: Method | None = "rows") -> Rounded:
    return rounded_answers(references, method, lambda reference: [cast("Any", reference).answers], [exact])


def outcome(engine: np.ndarray, rounding: Rounded, exact: np.ndarray = EXACT) -> Sequence[bool]:
    return [each.passed for each in rounding_findings("output", [engine], [exact], rounding, LIMITS)]


def test_an_engine_may_err_as_much_as_rounding_does_and_no_more() -> None:
    references = Roundings(noisy(0.1, 1))
    rounding = asked(references)
    assert references.opened == [0]
    assert outcome(noisy(0.1, 2), rounding) == [True, True]
    assert outcome(noisy(0.05, 2), rounding) == [True, True]
    assert outcome(noisy(0.18, 2), rounding) == [True, True]
    assert outcome(noisy(0.25, 2), rounding) == [False, True]
    assert outcome(noisy(0.5, 2), rounding) == [False, False]


def test_a_single_answer_that_is_wrong_is_seen() -> None:
    engine = noisy(0.1, 2)
    engine[7] += 0.6
    assert outcome(engine, asked(Roundings(noisy(0.1, 1)))) == [True, False]


def test_where_rounding_moves_nothing_noise_is_the_least_error() -> None:
    rounding = asked(Roundings(EXACT))
    assert outcome(noisy(0.5e-7, 1), rounding) == [True, True]
    assert outcome(noisy(1e-6, 1), rounding) == [False, False]


def test_answers_of_few_numbers_are_judged_by_several_roundings_and_with_more_room() -> None:
    exact = np.zeros((16, 3), np.float32)
    references = Roundings(*(np.broadcast_to(noisy(0.1, seed, (1, 3)), exact.shape) for seed in range(DRAWS)))
    rounding = asked(references, exact)
    assert references.opened == list(range(DRAWS))
    whole, worst = rounding_findings("output", [exact], [exact], rounding, LIMITS)
    assert whole.limit is not None
    assert 1.2 * ROUNDING_FACTOR < whole.limit < 3 * ROUNDING_FACTOR
    assert worst.limit == pytest.approx(WORST * whole.limit)


def test_a_few_answers_that_go_another_way_ask_for_more_roundings() -> None:
    def routed(seed: int) -> np.ndarray:
        found = noisy(0.01, seed)
        found[np.random.default_rng(seed).integers(0, len(found), 4)] += 1
        return found

    references = Roundings(*map(routed, range(DRAWS)))
    rounding = asked(references)
    assert len(references.opened) > 1
    assert outcome(routed(20), rounding) == [True, True]
    assert outcome(noisy(1.0, 3), rounding)[0] is False


def test_nothing_is_judged_where_nothing_is_known_of_the_rounding() -> None:
    references = Roundings(noisy(0.1, 1))
    rounding = asked(references, method=None)
    assert (references.opened, outcome(noisy(9.0, 1), rounding)) == ([], [])


def test_the_budget_may_set_the_factor() -> None:
    limits = Limits("int8-dynamic", Budget(rounding_factor=3.0), Noise(1e-7))
    assert limits.by_rounding("output.rounding.ratio", 2.9, 1).limit == 3.0
    assert LIMITS.by_rounding("output.rounding.ratio", 1.0, 1, 2.0).limit == 2 * ROUNDING_FACTOR
