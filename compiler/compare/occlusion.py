"""An item with each of its tokens hidden in turn: what that does to a score is the token's influence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from compiler.compare.asked import Item
from compiler.runtime.text import Text


class Hidden(NamedTuple):
    """An item without one of its tokens: `place` counts those of the whole item, `text` is the token."""

    place: int
    text: str
    item: Item


def without_each_part(item: Item, fields: Sequence[str], text: Text) -> list[Hidden]:
    """The item as often as the texts in `fields` have tokens, or the words there are, special ones not counted.

    What is hidden becomes the mask token where the tokenizer has one, and else is left out.
    """
    return list(_without_each_word(item, text) if "words" in fields else _without_each_token(item, fields, text))


def _without_each_token(item: Item, fields: Sequence[str], text: Text) -> Iterator[Hidden]:
    present = [field for field in fields if field in item]
    texts = [item[field] for field in present]
    encoding = text.encode([texts[0] if len(texts) == 1 else (texts[0], texts[1])], offsets=True)[0]
    mask = text.special["mask"]
    for place, (start, end) in enumerate(encoding.offsets):
        which = encoding.sequence_ids[place]
        if which is None or encoding.special_tokens_mask[place] or start == end:
            continue
        whole = texts[which]
        hidden = f"{whole[:start]}{mask}{whole[end:]}"
        if hidden.strip() and whole[start:end] != mask:
            yield Hidden(place, whole[start:end], {**item, present[which]: hidden})


def _without_each_word(item: Item, text: Text) -> Iterator[Hidden]:
    """The word that is asked about is hidden too, where there is a mask; without one it has to stay."""
    words, asked, mask = item["words"], item["place"], text.special["mask"]
    for place, word in enumerate(words):
        before, after = words[:place], words[place + 1 :]
        if mask:
            yield Hidden(place, word, {**item, "words": [*before, mask, *after]})
        elif place != asked:
            yield Hidden(place, word, {**item, "words": [*before, *after], "place": asked - (place < asked)})
