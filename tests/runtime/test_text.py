from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from compiler.bundle import Files
from compiler.errors import InputError, IntegrityError, UsageError
from compiler.records import Kind
from compiler.runtime.chat import Shown
from compiler.runtime.text import Text
from tests import models


def text(folder: Path, kind: Kind = "decoder", **files: Any) -> Text:
    models.write_tokenizer(folder)
    (folder / "tokenizer_config.json").unlink()
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return unsealed(folder, kind)


def unsealed(folder: Path, kind: Kind = "decoder") -> Text:
    manifest = models.manifest(kind, (), ())
    return Text(Files(folder, manifest, compared=False), manifest)


def test_tokens_with_a_meaning_come_from_the_first_file_that_declares_them(tmp_path: Path) -> None:
    found = text(
        tmp_path,
        config={"eos_token_id": 9, "bos_token_id": 8},
        generation_config={"eos_token_id": [2, 5], "pad_token_id": None},
        tokenizer_config={"eos_token": "<unk>", "pad_token": {"content": "<eos>"}},
    )
    assert found.ends == {2, 5}
    assert found.bos == 8
    assert found.pad == 2


def test_a_tokenizer_alone_is_enough(tmp_path: Path) -> None:
    found = text(tmp_path)
    assert (found.bos, found.ends, found.pad, found.chat) == (None, frozenset(), 0, None)
    assert [encoding.ids for encoding in found.encode(["ban", ""])] == [[6], []]


def test_only_encoders_cut_texts(tmp_path: Path) -> None:
    long = "ban " * 100
    assert len(text(tmp_path, "decoder").encode([long])[0].ids) == 100
    assert len(text(tmp_path, "encoder").encode([long])[0].ids) == models.CONTEXT


@pytest.mark.parametrize(
    ("length", "limit"), [(5, 5), (1e30, models.CONTEXT), (0, models.CONTEXT), ("5", models.CONTEXT)]
)
def test_an_encoder_cuts_where_its_tokenizer_says(tmp_path: Path, length: object, limit: int) -> None:
    found = text(tmp_path, "encoder", tokenizer_config={"model_max_length": length, "truncation_side": "left"})
    words = ["ban"] * 100 + ["del"]
    assert found.limit == limit
    assert found.encode([" ".join(words)], offsets=True)[0].tokens == words[-limit:]
    assert found.encode([" ".join(words)], offsets=True, cut=False)[0].tokens == words


def test_where_tokens_are_in_a_pair(tmp_path: Path) -> None:
    (pair,) = text(tmp_path).encode([("ban del", "fir")], offsets=True)
    assert pair.offsets == [(0, 3), (4, 7), (0, 3)]


@pytest.mark.parametrize(
    "template", ["{{ messages[0].content }}!", [{"name": "default", "template": "{{ messages[0].content }}!"}]]
)
def test_a_chat_template_in_the_tokenizers_settings(tmp_path: Path, template: object) -> None:
    chat = text(tmp_path, tokenizer_config={"chat_template": template}).chat
    assert chat is not None
    assert chat([{"role": "user", "content": "hi"}]) == "hi!"


def test_no_tokenizer(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no tokenizer[\s\S]*run\(\)"):
        unsealed(tmp_path)


def test_broken_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match=r"config\.json"):
        text(tmp_path, config=[1])
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(IntegrityError, match=r"tokenizer\.json: not a tokenizer"):
        unsealed(tmp_path)


def test_text_that_is_no_unicode(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Unicode"):
        text(tmp_path).encode(["a\ud800"])


def test_several_chat_templates_in_the_tokenizers_settings(tmp_path: Path) -> None:
    named = [{"name": "default", "template": "a"}, {"name": "tool_use", "template": "b"}]
    chat = text(tmp_path, tokenizer_config={"chat_template": named}).chat
    assert chat is not None
    assert chat([{"role": "user", "content": "hi"}], Shown(template="tool_use")) == "b"


def test_a_template_in_a_file_comes_first(tmp_path: Path) -> None:
    (tmp_path / "chat_template.jinja").write_text("from the file")
    chat = text(tmp_path, tokenizer_config={"chat_template": "from the settings"}).chat
    assert chat is not None
    assert chat([{"role": "user", "content": "hi"}]) == "from the file"


@pytest.mark.parametrize(
    "settings",
    [
        {"chat_template": [1]},
        {"chat_template": [{"name": "default"}]},
        {"chat_template": [{"name": 1, "template": "x"}]},
        {"chat_template": 5},
        {"bos_token": 5},
        {"eos_token": {"content": ["x"]}},
    ],
    ids=str,
)
def test_malformed_settings_of_the_tokenizer(tmp_path: Path, settings: dict[str, Any]) -> None:
    with pytest.raises(IntegrityError, match=r"template|special token"):
        text(tmp_path, tokenizer_config=settings)


def test_a_template_that_is_not_utf8(tmp_path: Path) -> None:
    (tmp_path / "chat_template.jinja").write_bytes(b"\xff")
    with pytest.raises(IntegrityError, match="UTF-8"):
        text(tmp_path)


@pytest.mark.parametrize(
    ("config", "pad", "pads"),
    [
        ({"pad_token_id": 5}, 5, True),
        ({"text_config": {"pad_token_id": 5}}, 5, True),
        ({}, 2, False),
        ({"pad_token_id": None}, 2, False),
        ({"pad_token_id": -1}, 0, False),
    ],
    ids=str,
)
def test_what_does_not_generate_is_padded_as_its_graph_expects(
    tmp_path: Path, config: dict[str, Any], pad: int, pads: bool
) -> None:
    found = text(
        tmp_path,
        "encoder",
        config=config,
        generation_config={"pad_token_id": 9},
        tokenizer_config={"pad_token": "<eos>"},
    )
    assert (found.pad, found.pads) == (pad, pads)


@pytest.mark.parametrize("tokens", [[[1]], "2", 1.5, True, {"a": 1}])
def test_a_token_that_is_no_number(tmp_path: Path, tokens: object) -> None:
    with pytest.raises(IntegrityError, match="eos_token_id"):
        text(tmp_path, generation_config={"eos_token_id": tokens})


def test_special_tokens_in_a_text_are_plain_text_where_the_checkpoint_says_so(tmp_path: Path) -> None:
    """transformers keeps this in tokenizer_config.json alone."""
    for splits, tokens in ((False, ["ban", "<eos>"]), (True, ["<unk>"])):
        found = text(tmp_path, "encoder", tokenizer_config={"split_special_tokens": splits})
        for cut in (True, False):
            assert found.encode(["ban<eos>"], offsets=True, cut=cut)[0].tokens == tokens


@pytest.mark.parametrize(("settings", "tidies"), [({}, False), ({"clean_up_tokenization_spaces": True}, True)])
def test_whether_decoded_text_is_tidied(tmp_path: Path, settings: dict[str, Any], tidies: bool) -> None:
    assert text(tmp_path, tokenizer_config=settings).tidies is tidies


def test_a_chat_template_finds_special_tokens_of_any_name(tmp_path: Path) -> None:
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    models.write_tokenizer(tmp_path)
    template = (
        "{{ bos_token }}{{ messages[0].content }}{{ eot_token }}{{ image_token }}{{ sep_token }}|{{ add_bos_token }}"
    )
    PreTrainedTokenizerFast(
        tokenizer_file=str(tmp_path / "tokenizer.json"),
        bos_token="<bos>",
        extra_special_tokens={"eot_token": "<eos>"},
        image_token="<unk>",
        chat_template=template,
    ).save_pretrained(tmp_path)
    chat = unsealed(tmp_path).chat
    assert chat is not None
    messages = [{"role": "user", "content": "hi"}]
    right = AutoTokenizer.from_pretrained(tmp_path).apply_chat_template(messages, tokenize=False)
    assert chat(messages) == right == "<bos>hi<eos><unk>|"
