from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from compiler.optimize.passes import Context
from compiler.optimize.quantize.weights import QuantizeWeights
from tests.optimize.graphs import context, exported, graph, operators, outputs, random
from tests.optimize.quantize.lossy import TIED, error

X = random(2, 5, 64)
ONE = """g (float[batch, sequence, 64] x, float[64, 48] w, float[48] b) => (float[batch, sequence, 48] y) {
    product = MatMul(x, w)
    total = Add(product, b)
    y = Relu(total)
}"""
IDS = np.array([[0, 39, 7, 7, 21]])


def one() -> ir.Model:
    return graph(ONE, w=random(64, 48, seed=1), b=random(48, seed=2))


def tied() -> ir.Model:
    return graph(TIED, table=random(40, 64, seed=1), w=random(64, 64, seed=2))


@pytest.mark.parametrize("rounding", ["nearest", "compensated"])
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("block_size", [16, 32, 64, 128])
@pytest.mark.parametrize(("bits", "limit"), [(4, 0.15), (8, 0.02)])
def test_a_product_and_its_bias_become_one_kernel(
    bits: int, limit: float, block_size: int, symmetric: bool, rounding: str
) -> None:
    model = one()
    pass_ = QuantizeWeights(
        bits=bits,
        int8_share=0,
        block_size=block_size,
        symmetric=symmetric,
        rounding=rounding,  # type: ignore[arg-type]
    )
    assert error(pass_, model, {"x": X}) < limit
    assert operators(model) == {"MatMulNBits": 1, "Relu": 1}


@pytest.mark.parametrize("head_bits", [4, 8])
@pytest.mark.parametrize("symmetric", [True, False])
def test_a_tied_head_and_its_table_share_one_tensor(head_bits: int, symmetric: bool) -> None:
    model = tied()
    pass_ = QuantizeWeights(head_bits=head_bits, symmetric=symmetric, rounding="nearest")
    assert error(pass_, model, {"ids": IDS}) < 0.3
    assert operators(model) == {"Unsqueeze": 1, "GatherBlockQuantized": 1, "Reshape": 1, "MatMulNBits": 2}
    (lookup,) = (node for node in model.graph if node.op_type == "GatherBlockQuantized")
    head = model.graph.outputs[0].producer()
    assert head is not None
    assert lookup.inputs[0] is head.inputs[1]
    assert "table" not in model.graph.initializers


@pytest.mark.parametrize("head_bits", [4, 8])
def test_a_looked_up_row_is_the_dequantized_row(head_bits: int) -> None:
    table = random(40, 64, seed=1)
    model = graph(
        """g (int64[batch, sequence] ids, float[40, 64] table) => (float[batch, sequence, 64] y) {
            y = Gather(table, ids)
        }""",
        table=table,
    )
    assert error(QuantizeWeights(head_bits=head_bits), model, {"ids": IDS}) < (0.1 if head_bits == 4 else 0.006)
    assert operators(model) == {"Unsqueeze": 1, "GatherBlockQuantized": 1, "Reshape": 1}
    rows = outputs(model, {"ids": IDS})["y"]
    np.testing.assert_array_equal(rows[0, 2], rows[0, 3])


def test_two_products_with_one_weight_share_it() -> None:
    model = graph(
        """g (float[batch, 64] x, float[64, 64] w) => (float[batch, 64] y) {
            first = MatMul(x, w)
            active = Relu(first)
            second = MatMul(active, w)
            y = Relu(second)
        }""",
        w=random(64, 64, seed=1),
    )
    assert error(QuantizeWeights(), model, {"x": X[0]}) < 0.3
    first, second = (node for node in model.graph if node.op_type == "MatMulNBits")
    assert first.inputs[1] is second.inputs[1]


def test_calibration_lowers_the_error_on_other_inputs() -> None:
    rng = np.random.default_rng(0)
    mix = rng.standard_normal((8, 64)).astype(np.float32)

    def inputs(seed: int) -> np.ndarray:
        return random(4, 50, 8, seed=seed) @ mix + random(4, 50, 64, seed=seed + 1) / 10

    feeds = [{"x": inputs(10)}, {"x": inputs(20)}]
    changes = [
        error(QuantizeWeights(int8_share=0, rounding=rounding), one(), {"x": inputs(30)}, feeds)  # type: ignore[arg-type]
        for rounding in ("compensated", "nearest")
    ]
    assert changes[0] < 0.7 * changes[1]


@pytest.mark.parametrize("rounding", ["nearest", "compensated"])
@pytest.mark.parametrize(
    ("share", "expected"), [(0, [4, 4, 4]), (0.4, [4, 8, 4]), (0.6, [4, 8, 8]), (1, [8, 8, 8])], ids=str
)
def test_a_share_of_the_weights_keeps_eight_bits(share: float, expected: list[int], rounding: str) -> None:
    """The way down first, then the square one, the wide way up last."""
    model = graph(
        """g (float[batch, 64] x, float[64, 128] up, float[128, 64] down, float[64, 64] out)
            => (float[batch, 64] y) {
            a = MatMul(x, up)
            active = Relu(a)
            b = MatMul(active, down)
            c = MatMul(b, out)
            y = Relu(c)
        }""",
        up=random(64, 128, seed=1),
        down=random(128, 64, seed=2),
        out=random(64, 64, seed=3),
    )
    pass_ = QuantizeWeights(int8_share=share, rounding=rounding)  # type: ignore[arg-type]
    assert pass_.apply(model, Context(exported(), lambda: [{"x": random(50, 64)}]))
    assert [node.attributes["bits"].value for node in model.graph if node.op_type == "MatMulNBits"] == expected


def test_the_same_model_gives_the_same_bytes() -> None:
    feeds = [{"x": X}]
    made = []
    for _ in range(2):
        model = one()
        QuantizeWeights().apply(model, Context(exported(), lambda: feeds))
        made.append(ir.to_proto(model).SerializeToString())
    assert made[0] == made[1]


def test_the_module_of_a_product_is_kept() -> None:
    model = one()
    next(iter(model.graph)).metadata_props["module"] = "layers.0.mlp"
    QuantizeWeights(rounding="nearest").apply(model, context())
    assert next(iter(model.graph)).metadata_props["module"] == "layers.0.mlp"


@pytest.mark.parametrize(
    ("text", "weights"),
    [
        ("g (float[b, 5, 32] x, float[b, 32, 5] w) => (float[b, 5, 5] y) { y = MatMul(x, w) }", {}),
        ("g (float[b, 5, 32] x, float[32, 8] w) => (float[b, 5, 8] y) { y = MatMul(x, w) }", {"w": (32, 8)}),
        ("g (int64[b, 5] x, float[2, 64] w) => (float[b, 5, 64] y) { y = Gather(w, x) }", {"w": (2, 64)}),
        ("g (int64[b, 5] x, float[40, 24] w) => (float[b, 5, 24] y) { y = Gather(w, x) }", {"w": (40, 24)}),
        ("g (int64[5] x, float[40, 64] w) => (float[40, 5] y) { y = Gather <axis: int = 1> (w, x) }", {"w": (40, 64)}),
    ],
    ids=["two activations", "too few columns", "a table of two rows", "rows of no whole blocks", "another axis"],
)
def test_near_misses_are_left_alone(text: str, weights: dict[str, tuple[int, ...]]) -> None:
    model = graph(text, **{name: random(*shape) for name, shape in weights.items()})
    before = operators(model)
    assert not QuantizeWeights(rounding="nearest").apply(model, context())
    assert operators(model) == before
