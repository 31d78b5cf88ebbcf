"""Pairs of long texts, made short before they are cut.

A tokenizer that cuts a pair also makes every combination of the pieces that it cuts off: of two texts of a megabyte
each, gigabytes. What is left out here is what cutting takes away in any case, so the tokens stay the same.
"""

from __future__ import annotations

from tokenizers import Encoding, Tokenizer

LONG = 4  # times the limit, in tokens: shorter pairs go as they are
MARGIN = 64  # tokens kept beyond the limit, so that the end of what is kept changes no token before it


def single(item: str | tuple[str, str]) -> str | tuple[str, str]:
    """A pair without a second text as the first one alone, which transformers makes of it where it gets one item.

    In a batch transformers keeps such a pair, so that rerankers and choices see its second, empty text.
    """
    return item[0] if isinstance(item, tuple) and not item[1] else item


def shortened(whole: Tokenizer, pair: tuple[str, str], limit: int, *, left: bool) -> tuple[str, str]:
    """The pair without what cutting to `limit` tokens takes from it anyway.

    Args:
        whole: the tokenizer, never cutting.
        pair: two texts.
        limit: tokens that are left of both together.
        left: the beginning is cut off, not the end.

    Returns:
        the same texts, or their ends (`left`) or beginnings. The longer one stays the longer one: it is cut first.
    """
    if min(map(len, pair)) <= LONG * limit:  # characters; a token has one or more, but for bytes of rare ones
        return pair
    first, second = (whole.encode(text, add_special_tokens=False) for text in pair)
    if min(len(first), len(second)) <= LONG * limit:
        return pair
    more = len(first) > len(second)
    kept = (limit + MARGIN * (1 + more), limit + MARGIN * (2 - more))
    one, other = (_kept(*each, left) for each in zip(pair, (first, second), kept, strict=True))
    return one, other


def _kept(text: str, encoding: Encoding, tokens: int, left: bool) -> str:
    if tokens >= len(encoding):
        return text
    return text[encoding.offsets[-tokens][0] :] if left else text[: encoding.offsets[tokens - 1][1]]
