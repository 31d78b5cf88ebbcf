"""What goes from a checkpoint into a bundle beside the graph."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from compiler.checkpoint import Checkpoint, load_tokenizer
from compiler.export.carried import carry
from compiler.records import Source
from tests import models

NAMED = {"default": "plain", "tool_use": "with tools"}


def checkpoint(folder: Path, **tokenizer: Any) -> Checkpoint:
    """A folder with a tokenizer whose settings have these entries, and a configuration."""
    from transformers import LlamaConfig, PreTrainedTokenizerFast

    folder.mkdir()
    models.write_tokenizer(folder)
    PreTrainedTokenizerFast(
        tokenizer_file=str(folder / "tokenizer.json"), pad_token="<pad>", eos_token="<eos>"
    ).save_pretrained(folder)
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(settings | tokenizer))
    LlamaConfig(vocab_size=models.VOCABULARY).save_pretrained(folder)
    source = Source(kind="folder", name="x", digest="0")
    return Checkpoint(source, folder, "text-generation", {"model_type": "llama"}, location=str(folder))


def small(vocabulary: int = models.VOCABULARY) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=vocabulary,
            hidden_size=8,
            num_hidden_layers=1,
            num_attention_heads=2,
            num_key_value_heads=1,
            intermediate_size=8,
        )
    )


def templates_of(folder: Path) -> Any:
    from transformers import AutoTokenizer

    assert all(path.is_file() for path in folder.iterdir())
    return AutoTokenizer.from_pretrained(folder).chat_template


@pytest.mark.parametrize("stored", ["files", "list"])
def test_several_chat_templates(tmp_path: Path, stored: str) -> None:
    listed = [{"name": name, "template": template} for name, template in NAMED.items()]
    made = checkpoint(tmp_path / "checkpoint", **({"chat_template": listed} if stored == "list" else {}))
    (made.folder / "chat_template.jinja").unlink(missing_ok=True)
    if stored != "list":  # a file comes before the settings
        (made.folder / "chat_template.jinja").write_text("plain")
        (made.folder / "additional_chat_templates").mkdir()
        (made.folder / "additional_chat_templates" / "tool_use.jinja").write_text("with tools")
    (tmp_path / "out").mkdir()
    assert carry(made, small(), load_tokenizer(made.folder), tmp_path / "out") == models.VOCABULARY
    assert templates_of(tmp_path / "out") == NAMED


@pytest.mark.parametrize("template", ["in the settings", None])
def test_one_chat_template_or_none(tmp_path: Path, template: str | None) -> None:
    made = checkpoint(tmp_path / "checkpoint", **({"chat_template": template} if template else {}))
    (made.folder / "chat_template.jinja").unlink(missing_ok=True)
    (tmp_path / "out").mkdir()
    carry(made, small(), load_tokenizer(made.folder), tmp_path / "out")
    assert templates_of(tmp_path / "out") == template
