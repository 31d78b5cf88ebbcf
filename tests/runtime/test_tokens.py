from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest

from compiler.errors import InputError
from compiler.runtime import Model, load
from compiler.runtime.tokens import AGGREGATIONS
from tests import understanding
from tests.understanding import LONG, TEXT, Case, assert_same

TEXTS = [
    "The young captain, the sailors and sailing of old boston walker.",
    "unquickly walking sailers reached paris",
    "rain",
    TEXT,
    "Zürich – the old harbour?  who's walkers",
    "",
]


@pytest.fixture(scope="module")
def saved(case: Callable[[str], Case]) -> Path:
    return case("token-classification").checkpoint


@pytest.fixture(scope="module")
def model(saved: Path) -> Iterator[Model]:
    with load(saved.with_name("bundle")) as opened:
        yield opened


@pytest.fixture(scope="module")
def pipeline(saved: Path) -> Any:
    return understanding.torch_pipeline("token-classification", saved)


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_tokens_and_entities_are_those_of_the_pipeline(model: Model, pipeline: Any, aggregation: str) -> None:
    found = model.classify_tokens(TEXTS, aggregation)
    for text, mine in zip(TEXTS, found, strict=True):
        assert_same(mine, pipeline(text, aggregation_strategy=aggregation))
        assert_same(model.classify_tokens(text, aggregation), mine)
    assert any(" " in each["word"] for mine in found for each in mine) == (aggregation != "none")


def test_labels_to_leave_out(model: Model, pipeline: Any) -> None:
    ignored = ["PER", "MISC"]
    assert_same(
        model.classify_tokens(TEXT, "simple", ignore=ignored),
        pipeline(TEXT, aggregation_strategy="simple", ignore_labels=ignored),
    )
    assert len(model.classify_tokens(TEXT, ignore=())) == len(TEXT.split()) + 1  # sail ##ed


def test_long_texts_are_cut_where_the_pipeline_cuts(model: Model, pipeline: Any) -> None:
    assert_same(model.classify_tokens(LONG), pipeline(LONG))
    assert_same(model.classify_tokens(LONG, "first"), pipeline(LONG, aggregation_strategy="first"))


def test_offsets_lead_into_the_text(model: Model) -> None:
    for entity in model.classify_tokens(TEXTS[0], "max"):
        assert TEXTS[0][entity["start"] : entity["end"]].lower().split() == entity["word"].replace(" ,", ",").split()


@pytest.mark.filterwarnings("ignore:Tokenizer does not support real words")
@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_a_tokenizer_without_marks_for_parts_of_words(saved: Path, tmp_path: Path, aggregation: str) -> None:
    """A byte-level one: where a word begins is told by the space before it."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    from compiler import bundle

    checkpoint = copytree(saved, tmp_path / "checkpoint")
    alphabet = ["<pad>", "<unk>", *"abcdefghijklmnopqrstuvwxyz", "Ġ", "Ġt", "he"]
    tokenizer = Tokenizer(
        models.BPE({token: index for index, token in enumerate(alphabet)}, [("Ġ", "t"), ("h", "e")], unk_token="<unk>")
    )
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>", model_max_length=understanding.CONTEXT
    ).save_pretrained(checkpoint)
    copy = copytree(saved.with_name("bundle"), tmp_path / "bundle")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (copy / name).write_bytes((checkpoint / name).read_bytes())
    bundle.seal(copy, bundle.read(copy))
    text = "who the sail to theta? a"
    with load(copy) as model:
        expected = understanding.torch_pipeline("token-classification", checkpoint)(
            text, aggregation_strategy=aggregation
        )
        assert_same(model.classify_tokens(text, aggregation), expected)


def test_zero_texts(model: Model) -> None:
    assert model.classify_tokens([]) == []


def test_wrong_arguments(model: Model) -> None:
    with pytest.raises(InputError, match="int at 1"):
        model.classify_tokens(["a", 1])  # type: ignore[list-item]
    with pytest.raises(InputError, match='did you mean "average"'):
        model.classify_tokens(TEXT, "averge")
