"""What a bundle brings along that is read or run when it is used: tokenizer, settings, templates, adapters."""

from __future__ import annotations

import io
import json
import math
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

from compiler import pooling as vectors
from compiler import records
from compiler.bundle import Files
from compiler.errors import InputError, IntegrityError
from compiler.records import Adapter, Dense, LayerNorm, Normalize, Pooling, Tensor, Truncate
from compiler.runtime import bounded
from compiler.runtime.adapters import Adapters
from compiler.runtime.chat import ChatTemplate
from compiler.runtime.text import Text
from tests import models as tiny
from tests.fuzz.mutate import Cases, Dice, changed, cut, json_files, raw, to_json, zip_files
from tests.fuzz.reader import Reader

MESSAGES = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello " * 20}]
MANIFEST = tiny.manifest("decoder", (), (), layout="shared")
TEMPLATES = (
    b"{% for m in messages %}<|{{ m.role }}|>{{ m['content'] | trim }}{% if not loop.last %},{% endif %}{% endfor %}",
    b"{% macro say(x, n=2) %}{{ x * n }}{% endmacro %}{{ say('a') }}{{ '%s' % bos_token }}{{ [1] | tojson(indent=2) }}",
    b"{% set ns = namespace(n=1) %}{% for i in range(9) %}{% set ns.n = ns.n * 9 + i ** 2 %}{% endfor %}{{ ns.n }}",
)
SETTINGS = {
    "bos_token": {"content": "<s>"},
    "eos_token": "</s>",
    "model_max_length": 512,
    "chat_template": [{"name": "default", "template": "{{ messages[0].content }}"}],
    "bos_token_id": 1,
    "eos_token_id": [2, 3],
    "pad_token_id": 0,
}
INPUTS = tuple(
    Tensor(name=f"adapter.m.{part}", dtype="float32", shape=shape)
    for part, shape in (("A", (6, "rank")), ("B", ("rank", 4)))
)
ADAPTED = msgspec.structs.replace(
    MANIFEST,
    adapter_inputs=INPUTS,
    adapters=(Adapter(name="a", file="a.npz", source=MANIFEST.source, rank=2),),
)


def _npz(**arrays: Any) -> bytes:
    content = io.BytesIO()
    np.savez(content, **arrays)
    return content.getvalue()


GOOD = {"adapter.m.A": np.ones((6, 2), np.float32), "adapter.m.B": np.zeros((2, 4), np.float32)}


def _text(name: str) -> Callable[[Path], Callable[[bytes], object]]:
    def prepare(folder: Path) -> Callable[[bytes], object]:
        tiny.write_tokenizer(folder, bos=True)

        def run(content: bytes) -> object:
            (folder / name).write_bytes(content)
            text = Text(Files(folder, MANIFEST, compared=False), MANIFEST)
            return text.encode(["a fine day 漢字", "a" * 50]), text.chat and text.chat(MESSAGES)

        return run

    return prepare


def _tokenizer_files() -> tuple[bytes, ...]:
    words = {word: index for index, word in enumerate(("[UNK]", "a", "fine", "day", "Hi"))}
    made = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    made.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(" ", "_")])
    made.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(r"\w+"), "isolated")])
    unigram = Tokenizer(models.Unigram([("<unk>", 0.0), ("a", -1.0), ("b", -2.0)], unk_id=0))
    broken = Tokenizer(models.Unigram([("<unk>", 0.0), ("a", -1.0)], unk_id=0))
    broken.normalizer = normalizers.Precompiled(struct.pack("<I", 1024) + bytes(1024) + b"a\0")
    return tuple(each.to_str().encode() for each in (made, unigram, broken))


def _vectors() -> Cases:
    """A record of modules, and the file of their weights, one or both changed."""
    record, weights = json.dumps(json.loads(records.encode(POOLING))), np.ones(SIZE, "<f4").tobytes()

    def build(dice: Dice) -> tuple[bytes, bytes]:
        content = to_json(changed(json.loads(record), dice) if dice.below(4) else json.loads(record))
        return content, cut(weights, dice, dice.below(2))

    return build


def _pooled(folder: Path) -> Callable[[tuple[bytes, bytes]], object]:
    states, mask = np.ones((2, 3, 4), np.float32), np.array([[1, 1, 0], [1, 1, 1]], bool)

    def run(case: tuple[bytes, bytes]) -> object:
        (folder / vectors.FILE).write_bytes(case[1])
        with np.errstate(all="ignore"):
            return vectors.Vectors(records.parse(case[0], Pooling, "pooling"), folder, 4)(states, mask)

    return run


def _adapter(folder: Path) -> Callable[[bytes], object]:
    def run(content: bytes) -> object:
        (folder / "a.npz").write_bytes(content)
        return Adapters(Files(folder, ADAPTED, compared=False), ADAPTED)._read(ADAPTED.adapters[0])

    return run


def _template(_: Path) -> Callable[[bytes], object]:
    return lambda source: ChatTemplate(source.decode("utf-8", "replace"), {"bos": "<s>"})(MESSAGES)


POOLING = Pooling(
    modes=("mean", "max"),
    modules=(
        Dense(inputs=8, outputs=3, bias=True, activation="Tanh", residual=True),
        LayerNorm(width=3),
        Normalize(),
        Truncate(width=2),
    ),
    prompts={"query": "x: "},
    default_prompt="query",
)
SIZE = sum(math.prod(shape) for shape in POOLING.shapes)
BUNDLE = frozenset({2, 11})
READERS = (
    Reader("chat-template", frozenset({2}), raw(*TEMPLATES), _template),
    Reader("tokenizer", BUNDLE, json_files(*_tokenizer_files()), _text("tokenizer.json"), cost=0.5),
    Reader(
        "tokenizer-config", BUNDLE, json_files(json.dumps(SETTINGS).encode()), _text("tokenizer_config.json"), cost=0.7
    ),
    Reader(
        "generation-config",
        BUNDLE,
        json_files(json.dumps(SETTINGS).encode()),
        _text("generation_config.json"),
        cost=0.4,
    ),
    Reader("vectors", BUNDLE, _vectors(), _pooled),
    Reader("adapter", BUNDLE, zip_files(_npz(**GOOD)), _adapter),
)


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_broken_bundles_are_refused(reader: Reader) -> None:
    reader.check()


@pytest.mark.parametrize(
    "source",
    [
        "{% for a in range(99999) %}" * 3 + "{% endfor %}" * 3,
        "{{ 10 ** (10 ** 8) }}",
        "{{ 'x' * 2000000000 }}",
        "{{ 'x'.ljust(2000000000) }}",
        "{{ 'x' | center(2000000000) }}",
        "{{ '{:>2000000000}'.format(1) }}",
        "{{ '%2000000000d' % 1 }}",
        "{{ '%*d' % (2000000000, 1) }}",
        "{% set ns = namespace(s='x') %}{% for i in range(60) %}{% set ns.s = ns.s + ns.s %}{% endfor %}{{ ns.s }}",
        "{% for i in range(99999) %}{{ 'x' * 99999 }}{% endfor %}",
        "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(60) }}",
        "{{ ('x' * 99999).replace('x', 'y' * 99999) }}",
    ],
)
def test_a_template_ends_soon_and_stays_small(source: str) -> None:
    reader = READERS[0]
    template = ChatTemplate(source, {})

    def read(_: object) -> None:
        with pytest.raises(InputError):
            template(MESSAGES)

    reader.judge(read, b"")


def test_what_right_templates_do_is_within_the_limits() -> None:
    source = (
        "{% set left = budget | default(1000000) %}{{ '{{\"at\": {}}}'.format(20240101) }}{{ '%d' % left }}"
        "{{ '-' * 40 }}{% for m in messages %}{{ m | tojson(indent=4) }}{% endfor %}{{ 2 ** 31 }}"
    )
    shown = ChatTemplate(source, {})([{"role": "user", "content": "x"}])
    expected = '{"at": 20240101}1000000' + "-" * 40 + '{\n    "role": "user",\n    "content": "x"\n}' + str(2**31)
    assert shown == expected
    assert bounded.STEPS >= 100_000


@pytest.mark.parametrize(
    "arrays",
    [
        {"adapter.m.A": GOOD["adapter.m.A"]},
        {**GOOD, "adapter.m.B": np.zeros((2000, 4000), np.float32)},
        {**GOOD, "adapter.m.B": np.zeros((2, 4), np.float64)},
        {**GOOD, "adapter.m.B": np.array([[{}] * 4] * 2, object)},
    ],
    ids=["missing", "large", "double", "pickled"],
)
def test_other_arrays_are_refused_unread(tmp_path: Path, arrays: dict[str, Any]) -> None:
    with pytest.raises(IntegrityError, match=r"adapter\.m\.B"):
        _adapter(tmp_path)(_npz(**arrays))


def test_the_order_of_an_array_counts_for_nothing(tmp_path: Path) -> None:
    array = np.arange(12, dtype=np.float32).reshape(6, 2)
    found: Any = _adapter(tmp_path)(_npz(**{**GOOD, "adapter.m.A": np.asfortranarray(array)}))
    assert np.array_equal(found["adapter.m.A"], array)


def test_a_normalizer_that_lengthens_without_end_is_refused(tmp_path: Path) -> None:
    made = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    made.normalizer = normalizers.Sequence([normalizers.Replace("a", "a" * 100)] * 5)
    with pytest.raises(IntegrityError, match="normalizer"):
        _text("tokenizer.json")(tmp_path)(made.to_str().encode())


@pytest.mark.parametrize(
    ("field", "value"),
    [("layers", 10**9), ("kv_heads", -1), ("head_dim", 10**15), ("capacity", 10**12), ("dtype", "x")],
)
def test_a_manifest_cannot_ask_for_all_memory(field: str, value: Any) -> None:
    from compiler.records import Manifest, encode
    from compiler.records.base import parse

    tree = json.loads(encode(MANIFEST))
    tree["cache"][field] = value
    with pytest.raises(IntegrityError, match=f"cache.{field}"):
        parse(json.dumps(tree).encode(), Manifest, "manifest.json")
    for key, wrong in (("context_length", -5), ("context_length", 10**15), ("vocabulary", -1)):
        with pytest.raises(IntegrityError, match=key):
            parse(json.dumps({**json.loads(encode(MANIFEST)), key: wrong}).encode(), Manifest, "manifest.json")
