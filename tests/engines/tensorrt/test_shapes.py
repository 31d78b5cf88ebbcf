"""From sizes of named dims to optimization profiles, and the checks that TensorRT leaves out."""

from __future__ import annotations

import pytest

from compiler.engines.plans import shapes
from compiler.engines.plans.shapes import buckets, input_shapes
from compiler.engines.tensorrt.builder import network, sources
from compiler.engines.tensorrt.builder.network import check_network
from compiler.engines.tensorrt.flavors import flavor_for
from compiler.errors import EngineError, ProfileError
from compiler.records import Tensor
from tests.engines.tensorrt import graphs

IDS = Tensor(name="input_ids", dtype="int64", shape=("batch", "sequence"))
POSITIONS = Tensor(name="logits_positions", dtype="int64", shape=("batch", "kept"))
PAST = Tensor(name="past", dtype="float16", shape=("batch", 2, 64, 16))
READING = Tensor(name="input_ids", dtype="int64", shape=("batch", "encoder_sequence"))


def test_every_input_has_its_shapes() -> None:
    (bucket,) = buckets([{"batch": (1, 2, 4), "sequence": (1, 8, 32)}], [[IDS, POSITIONS, PAST]], 64)
    assert input_shapes(bucket, [IDS, POSITIONS, PAST]) == {
        "input_ids": ((1, 1), (2, 8), (4, 32)),
        "logits_positions": ((1, 1), (2, 1), (4, 1)),
        "past": ((1, 2, 64, 16), (2, 2, 64, 16), (4, 2, 64, 16)),
    }


def test_sizes_beyond_the_model_are_cut_and_equal_buckets_are_one() -> None:
    asked = [{"sequence": (1, 128, 512)}, {"sequence": (1, 48, 100), "batch": (1, 4, 8)}, {"sequence": (1, 64, 256)}]
    assert buckets(asked, [[IDS]], 64) == (
        {"batch": (1, 1, 1), "sequence": (1, 64, 64)},
        {"batch": (1, 4, 8), "sequence": (1, 48, 64)},
    )


def test_a_fixed_cache_cuts_the_tokens_of_its_graph_alone() -> None:
    asked = [{"sequence": (1, 32, 512), "encoder_sequence": (1, 32, 512), "kept": (1, 1, 512)}]
    (bucket,) = buckets(asked, [[IDS, POSITIONS], [READING]], 256, 64)
    assert bucket["sequence"] == (1, 32, 64)
    assert bucket["kept"] == (1, 1, 64)
    assert bucket["encoder_sequence"] == (1, 32, 256)


def test_a_name_that_no_graph_has_is_corrected() -> None:
    with pytest.raises(ProfileError, match=r'bucket 2 of shapes: no input has a dim "sequense"') as raised:
        buckets([{"sequence": (1, 8, 32)}, {"sequense": (1, 8, 32)}], [[IDS]], 64)
    assert raised.value.exit_code == 3
    assert raised.value.action == 'did you mean "sequence"?'


def test_a_dim_of_another_kind_of_model_is_passed_over() -> None:
    (bucket,) = buckets([{"sequence": (1, 8, 32), "encoder_sequence": (1, 8, 32)}], [[IDS]], 64)
    assert set(bucket) == {"batch", "sequence"}


@pytest.mark.parametrize("wrong", [(0, 8, 32), (0, 0, 0), (8, 4, 32), (1, 64, 32), (-1, 8, 32), (4, 2, 1)])
def test_what_is_no_range_is_refused(wrong: tuple[int, int, int]) -> None:
    with pytest.raises(ProfileError, match='not a range for "sequence"'):
        buckets([{"sequence": wrong}], [[IDS]], 64)


def test_only_what_may_be_empty_may_be_zero() -> None:
    past = Tensor(name="past", dtype="float32", shape=("batch", 2, "past_sequence", 16))
    assert buckets([{"past_sequence": (0, 8, 32)}], [[past]], 64)[0]["past_sequence"] == (0, 8, 32)
    with pytest.raises(ProfileError, match='not a range for "batch"'):
        buckets([{"past_sequence": (0, 8, 32), "batch": (0, 1, 1)}], [[past]], 64)


@pytest.mark.parametrize("asked", [[], [{"batch": (1, 1, 4)}]])
def test_a_length_needs_a_range(asked: list[shapes.Shapes]) -> None:
    with pytest.raises(ProfileError, match='no sizes for "sequence"'):
        buckets(asked, [[IDS]], 64)


def test_a_model_without_lengths_needs_no_shapes() -> None:
    assert buckets([], [[PAST]], 64) == ({"batch": (1, 1, 1)},)


@pytest.fixture(scope="module")
def parsed(tmp_path_factory: pytest.TempPathFactory) -> network.Parsed:
    model = tmp_path_factory.mktemp("parsed") / "model.onnx"
    graphs.decoder(model)
    return network.parse(flavor_for("sm89"), sources.read(model))


GOOD = {
    "input_ids": ((1, 1), (1, 8), (4, 32)),
    "position_ids": ((1, 1), (1, 8), (4, 32)),
    "past_key_values.0.key": ((1, 2, 64, 16), (1, 2, 64, 16), (4, 2, 64, 16)),
    "past_key_values.0.value": ((1, 2, 64, 16), (1, 2, 64, 16), (4, 2, 64, 16)),
}


def test_a_profile_is_compared_with_the_network(parsed: network.Parsed) -> None:
    check_network(parsed.network, GOOD)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"position_ids": ((1, 1), (1, 8), (4, 16))}, 'for the dim "sequence"'),
        ({"past_key_values.0.key": ((1, 2, 64, 16), (1, 2, 64, 16), (8, 2, 64, 16))}, 'for the dim "batch"'),
        ({"past_key_values.0.key": ((1, 2, 32, 16), (1, 2, 64, 16), (4, 2, 64, 16))}, "a fixed size of 64 at dim 2"),
        ({"input_ids": ((1,), (1,), (4,))}, "2 dims"),
        ({"attention_mask": ((1, 1), (1, 8), (4, 32))}, "not those of its record"),
    ],
)
def test_a_profile_that_does_not_fit_is_refused(
    parsed: network.Parsed, changed: shapes.InputShapes, message: str
) -> None:
    with pytest.raises(EngineError, match=message):
        check_network(parsed.network, GOOD | changed)
