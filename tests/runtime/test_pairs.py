"""Long pairs are cut to the same tokens as without help, and within bounds."""

from __future__ import annotations

import random
import subprocess
import sys

import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from compiler.runtime.pairs import shortened
from tests.conftest import ROOT

WORDS = ["the", "refund", "is", "paid", "within", "five", "days", "Öl", "😀", "supercalifragilistic", ",", "\n", "  "]


def bytes_of() -> Tokenizer:
    """A token for each byte."""
    made = Tokenizer(
        models.BPE({token: at for at, token in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}, [])
    )
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    return made


def pieces_of() -> Tokenizer:
    """BERT's way: small letters without accents, words in pieces, long and strange ones unknown."""
    known = ["[UNK]", "[CLS]", "[SEP]", "the", "ref", "##und", "is", "pa", "##id", "wit", "##hin", "five", "days", ","]
    made = Tokenizer(models.WordPiece({token: at for at, token in enumerate(known)}, unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer()
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.post_processor = processors.BertProcessing(("[SEP]", 2), ("[CLS]", 1))
    return made


@pytest.mark.parametrize("direction", ["left", "right"])
@pytest.mark.parametrize("limit", [7, 16, 33])
@pytest.mark.parametrize("make", [bytes_of, pieces_of])
def test_the_tokens_are_those_of_the_whole_pair(make: object, limit: int, direction: str) -> None:
    whole: Tokenizer = make()  # type: ignore[operator]
    cutting = Tokenizer.from_str(whole.to_str())
    cutting.enable_truncation(limit, direction=direction)
    draw = random.Random(0)
    shorter = 0
    for lengths in ((300, 300), (300, 301), (301, 300), (900, 310), (310, 900), (5, 900), (900, 5)):
        first, second = (" ".join(draw.choices(WORDS, k=length)) for length in lengths)
        kept = shortened(whole, (first, second), limit, left=direction == "left")
        shorter += kept != (first, second)
        expected, found = cutting.encode(first, second), cutting.encode(*kept)
        assert (found.ids, found.type_ids) == (expected.ids, expected.type_ids)
    assert shorter >= 3


def test_two_texts_of_a_megabyte_stay_small() -> None:
    code = f"""
import resource
from tests.runtime.test_pairs import pieces_of
from compiler.runtime.pairs import shortened
resource.setrlimit(resource.RLIMIT_AS, ({2 << 30}, {2 << 30}))
whole, text = pieces_of(), "the refund is paid " * 55_000
pair = shortened(whole, (text, text), 128, left=False)
whole.enable_truncation(128)
assert len(whole.encode(*pair).ids) == 128
print(sum(map(len, pair)))
"""
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert int(ended.stdout) < 5_000
