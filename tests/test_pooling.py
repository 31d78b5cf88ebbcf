"""Vectors of texts in numpy, beside PyTorch's own layers and the formulas written out."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import msgspec
import numpy as np
import pytest
import torch

from compiler.errors import IntegrityError
from compiler.pooling import ACTIVATIONS, FILE, Vectors, pool, width
from compiler.records import Activation, Dense, LayerNorm, Normalize, Pooling, PoolingMode, Truncate

HIDDEN = 6
RANDOM = np.random.default_rng(0)
STATES = RANDOM.normal(size=(3, 5, HIDDEN)).astype(np.float32)
LENGTHS = (5, 2, 1)
MASK = np.arange(5) < np.array(LENGTHS)[:, None]

BY_HAND = {
    "cls": lambda tokens: tokens[0],
    "max": lambda tokens: tokens.max(axis=0),
    "mean": lambda tokens: tokens.sum(axis=0) / len(tokens),
    "mean_sqrt_len_tokens": lambda tokens: tokens.sum(axis=0) / np.sqrt(len(tokens)),
    "weightedmean": lambda tokens: sum((i + 1) * row for i, row in enumerate(tokens)) / sum(range(len(tokens) + 1)),
    "lasttoken": lambda tokens: tokens[-1],
}


def layers(folder: Path, *modules: Dense | LayerNorm | Normalize | Truncate) -> tuple[Pooling, list[np.ndarray]]:
    """The mean and these modules, with random weights in their file."""
    pooling = Pooling(modules=modules)
    weights = [RANDOM.normal(size=shape).astype(np.float32) for shape in pooling.shapes]
    if weights:
        (folder / FILE).write_bytes(b"".join(array.astype("<f4").tobytes() for array in weights))
    return pooling, weights


@pytest.mark.parametrize("mode", get_args(PoolingMode))
@pytest.mark.parametrize("side", ["left", "right"])
def test_every_pooling_sees_the_tokens_alone(mode: PoolingMode, side: str) -> None:
    states, mask = (STATES[:, ::-1], MASK[:, ::-1]) if side == "left" else (STATES, MASK)
    expected = [BY_HAND[mode](row[real]) for row, real in zip(states, mask, strict=True)]  # type: ignore[no-untyped-call]
    found = pool(np.where(mask[..., None], states, np.float32(1e6)), mask, (mode,))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("mode", get_args(PoolingMode))
def test_the_prompts_tokens_do_not_count_but_keep_their_numbers(mode: PoolingMode) -> None:
    found = pool(STATES[:1], MASK[:1], (mode,), prompt=2)[0]
    expected = BY_HAND[mode](STATES[0, 2:])  # type: ignore[no-untyped-call]
    if mode == "weightedmean":
        expected = (3 * STATES[0, 2] + 4 * STATES[0, 3] + 5 * STATES[0, 4]) / 12
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert not pool(STATES[1:], MASK[1:], (mode,), prompt=2).any()  # nothing is left of these


def test_several_poolings_stand_side_by_side_in_the_order_given() -> None:
    found = pool(STATES, MASK, ("max", "cls"))
    np.testing.assert_array_equal(found, np.concatenate([pool(STATES, MASK, ("max",)), STATES[:, 0]], axis=1))


@pytest.mark.parametrize("activation", get_args(Activation))
@pytest.mark.parametrize("bias", [True, False])
def test_dense_is_torchs_linear_layer_and_activation(activation: Activation, bias: bool, tmp_path: Path) -> None:
    pooling, weights = layers(tmp_path, Dense(inputs=HIDDEN, outputs=4, bias=bias, activation=activation))
    with torch.no_grad():
        linear = torch.nn.Linear(HIDDEN, 4, bias=bias)
        for parameter, array in zip((linear.weight, linear.bias), weights, strict=bias):
            parameter.copy_(torch.from_numpy(array))
        plain = torch.from_numpy(pool(STATES, MASK, ("mean",)))
        expected = getattr(torch.nn, activation)()(linear(plain)).numpy()
    vectors = Vectors(pooling, tmp_path, HIDDEN)
    assert vectors.width == 4
    np.testing.assert_allclose(vectors(STATES, MASK), expected, rtol=1e-5, atol=1e-6)


def test_activations_far_out_are_torchs() -> None:
    x = np.linspace(-90, 90, 401, dtype=np.float32)
    for name, function in ACTIVATIONS.items():
        expected = getattr(torch.nn, name)()(torch.from_numpy(x)).numpy()
        np.testing.assert_allclose(function(x), expected, rtol=1e-5, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("outputs", [HIDDEN, 4])
def test_a_residual_is_added_and_projected_where_widths_differ(outputs: int, tmp_path: Path) -> None:
    dense = Dense(inputs=HIDDEN, outputs=outputs, bias=True, activation="Tanh", residual=True)
    pooling, weights = layers(tmp_path, dense)
    x = pool(STATES, MASK, ("mean",))
    beside = x if outputs == HIDDEN else x @ weights[2].T
    found = Vectors(pooling, tmp_path, HIDDEN)(STATES, MASK)
    np.testing.assert_allclose(found, np.tanh(x @ weights[0].T + weights[1]) + beside, rtol=1e-5)


def test_layer_norm_is_torchs(tmp_path: Path) -> None:
    pooling, weights = layers(tmp_path, LayerNorm(width=HIDDEN))
    given = torch.from_numpy(pool(STATES, MASK, ("mean",)))
    scale, shift = map(torch.from_numpy, weights)
    expected = torch.nn.functional.layer_norm(given, (HIDDEN,), scale, shift)
    np.testing.assert_allclose(Vectors(pooling, tmp_path, HIDDEN)(STATES, MASK), expected, rtol=1e-4, atol=1e-6)


def test_modules_run_in_their_order_and_the_caller_decides_on_the_last_normalization(tmp_path: Path) -> None:
    dense = Dense(inputs=HIDDEN, outputs=4, bias=False, activation="Identity")
    pooling, (matrix,) = layers(tmp_path, Normalize(), dense, Normalize(), Truncate(width=3))
    vectors = Vectors(pooling, tmp_path, HIDDEN)
    x = pool(STATES, MASK, ("mean",))
    raw = (x / np.linalg.norm(x, axis=1, keepdims=True)) @ matrix.T
    unit = (raw / np.linalg.norm(raw, axis=1, keepdims=True))[:, :3]
    assert vectors.width == 3
    np.testing.assert_allclose(vectors(STATES, MASK), unit, rtol=1e-5)
    np.testing.assert_allclose(vectors(STATES, MASK, normalize=False), raw[:, :3], rtol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(vectors(STATES, MASK, normalize=True), axis=1), 1, rtol=1e-6)


@pytest.mark.parametrize(
    "modules",
    [
        (Dense(inputs=7, outputs=4, bias=True, activation="Tanh"),),
        (LayerNorm(width=5),),
        (Truncate(width=4), LayerNorm(width=HIDDEN)),
        (Truncate(width=0),),
        (Dense(inputs=HIDDEN, outputs=-4, bias=False, activation="Tanh"), Truncate(width=1)),
    ],
)
def test_modules_that_do_not_fit_are_refused(modules: tuple[Dense | LayerNorm | Truncate, ...], tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"")
    with pytest.raises(IntegrityError):
        Vectors(Pooling(modules=modules), tmp_path, HIDDEN)
    with pytest.raises(IntegrityError):
        Vectors(Pooling(modes=()), tmp_path, HIDDEN)


@pytest.mark.parametrize("change", [lambda content: content[:-1], lambda content: content + b"\0", lambda _: b""])
def test_a_file_of_another_size_is_refused(change: object, tmp_path: Path) -> None:
    pooling, _ = layers(tmp_path, LayerNorm(width=HIDDEN))
    (tmp_path / FILE).write_bytes(change((tmp_path / FILE).read_bytes()))  # type: ignore[operator]
    with pytest.raises(IntegrityError, match="not the modules' weights"):
        Vectors(pooling, tmp_path, HIDDEN)
    (tmp_path / FILE).unlink()
    with pytest.raises(IntegrityError, match="cannot be read"):
        Vectors(pooling, tmp_path, HIDDEN)


def test_widths_and_lengths_that_no_bundle_has_are_refused() -> None:
    with pytest.raises(IntegrityError, match="1 to 1048576"):
        width(Pooling(), 10**9)
    for changed in ({"max_length": -(2**63)}, {"modules": [{"module": "Truncate", "width": 0}]}):
        with pytest.raises(msgspec.ValidationError, match=r">= [01]"):
            msgspec.convert(changed, Pooling)
