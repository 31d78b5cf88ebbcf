"""What sentence-transformers itself makes of a text before the model reads it, for the check to compare with.

It reads the checkpoint's files by itself, so that a mistake in `settings` is not made here too.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

KINDS = ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")  # in the library's order
PROBES = ("0", "1 2 3 4")


class Reader:
    """A text's ids, by transformers' tokenizer and as the module Transformer of the library is set.

    Args:
        folder: a sentence encoder or ranker as it was saved.
        tokenizer: transformers'.

    Attributes:
        length: of tokens, after which the library cuts a text.
    """

    def __init__(self, folder: Path, tokenizer: Any) -> None:
        places = [folder / f"sentence_{kind}_config.json" for kind in KINDS]
        place = next((path for path in places if path.exists()), None)
        config: dict[str, Any] = json.loads(place.read_text(encoding="utf-8")) if place else {}
        asked = [config.get(key) or {} for key in ("processor_kwargs", "tokenizer_args")]
        lengths = [*(each.get("model_max_length") for each in asked), config.get("max_seq_length")]
        known = [length for length in (*lengths, tokenizer.model_max_length) if length is not None]
        self.length = int(known[0])
        self._tokenizer = tokenizer
        self._lower = bool(config.get("do_lower_case"))
        self._message: dict[str, Any] | None = (config.get("modality_config") or {}).get("message")
        shown = (config.get("processing_kwargs") or {}).get("chat_template") or {}
        self._restores = shown.get("restore_suffix", True)
        self._shown = {name: value for name, value in shown.items() if name != "restore_suffix"}

    @property
    def templated(self) -> bool:
        """Whether texts are put into the chat template."""
        return self._message is not None

    def ids(self, text: str, limit: int) -> list[int]:
        """At most `limit` tokens of a text in the chat template."""
        found = self._templated(text, truncation=True, max_length=limit)
        if len(found) < limit or not self._restores:
            return found
        short, long = (self._templated(probe) for probe in PROBES)
        end: list[int] = []
        while len(end) < min(len(short), len(long)) and short[-1 - len(end)] == long[-1 - len(end)]:
            end.insert(0, short[-1 - len(end)])
        if not end or len(end) == min(len(short), len(long)):
            return found
        end = end[-len(found) :]
        return [*found[: len(found) - len(end)], *end]

    def _templated(self, text: str, **cut: Any) -> list[int]:
        flat = self._message is not None and self._message["format"] == "flat"
        said = {"role": "user", "content": text if flat else [{"type": "text", "text": text}]}
        written = self._tokenizer.apply_chat_template([said], tokenize=False, **self._shown)
        return list(self._tokenizer(self.small(written), add_special_tokens=False, **cut)["input_ids"])

    def small(self, text: str) -> str:
        """The text in small letters where the checkpoint reads no others; its special tokens stay as they are."""
        if not self._lower:
            return text
        from tokenizers.normalizers import Lowercase

        parts = self._tokenizer.backend_tokenizer
        known = sorted((each.content for each in parts.get_added_tokens_decoder().values()), key=len, reverse=True)
        small, start = Lowercase(), 0
        written: list[str] = []
        plain = 0
        while start < len(text):
            token = next((each for each in known if text.startswith(each, start)), "")
            if token:
                written += [small.normalize_str(text[plain:start]), token]
                plain = start + len(token)
            start += len(token) or 1
        return "".join([*written, small.normalize_str(text[plain:])])
