"""split-softcap: equal numbers with grouped heads and with either kind of mask; attention without a cap stays."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from compiler.optimize.passes.split_softcap import SplitSoftcap
from tests.optimize.graphs import apply, graph, operators, random

BOOL, BIAS, NONE = "bool[batch, 1, rows, columns] mask,", "float[batch, 1, rows, columns] mask,", ""
FEEDS = {"q": random(2, 4, 3, 8, seed=1) * 4, "k": random(2, 2, 5, 8, seed=2) * 4, "v": random(2, 2, 5, 8, seed=3)}
SEEN = np.tril(np.ones((2, 1, 3, 5), np.bool_), 2)


def attention(mask: str = NONE, attributes: str = "softcap = 2.0, scale = 0.5") -> ir.Model:
    return graph(
        f"""g (float[batch, 4, rows, 8] q, float[batch, 2, columns, 8] k, {mask} float[batch, 2, columns, 8] v)
        => (float[batch, 4, rows, 8] y) {{ y = Attention <{attributes}> (q, k, v{", mask" if mask else ""}) }}"""
    )


@pytest.mark.parametrize(("mask", "array"), [(BOOL, SEEN), (BIAS, random(2, 1, 3, 5)), (NONE, None)])
def test_the_cap_is_computed_in_plain_operators(mask: str, array: np.ndarray | None) -> None:
    subject = attention(mask)
    assert apply(SplitSoftcap(), subject, FEEDS if array is None else FEEDS | {"mask": array})
    found = operators(subject)
    assert (found["Attention"], found["MatMul"], found["Tanh"], found["Softmax"]) == (0, 2, 1, 1)


def test_the_scale_is_the_operators_own_where_none_is_given() -> None:
    assert apply(SplitSoftcap(), attention(BOOL, "softcap = 3.0"), FEEDS | {"mask": SEEN})


@pytest.mark.parametrize("attributes", ["scale = 0.5", "softcap = 0.0, scale = 0.5", "softcap = 2.0, is_causal = 1"])
def test_what_the_engine_knows_or_the_pass_does_not_stays(attributes: str) -> None:
    subject = attention(NONE, attributes)
    assert not apply(SplitSoftcap(), subject, FEEDS)
    assert operators(subject)["Attention"] == 1
