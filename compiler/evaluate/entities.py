"""Entities in a sequence of word labels."""

from __future__ import annotations

from collections.abc import Sequence

Span = tuple[tuple[int, int], str]

BEGINS, GOES_ON, ENDS = "BSU", "IEL", "ESLU"  # BIO, BIOES and BILOU
PREFIXES = {*BEGINS, *GOES_ON}


def spans(tags: Sequence[str]) -> set[Span]:
    """Entities as ((first word, behind the last), type).

    An entity begins at B- (S-, U-), and goes on with I- (E-, L-) of its own type up to E- (S-, L-, U-). An I- that
    continues nothing begins an entity too, as the CoNLL evaluation counts it. A label without such a prefix is an
    entity's type by itself, and equal neighbours are one entity; O is none.
    """
    found: set[Span] = set()
    begin, kind = 0, ""
    for place, tag in enumerate((*tags, "O")):
        prefix, own = _parts(tag)
        goes_on = bool(kind) and own == kind and prefix in GOES_ON
        if kind and not goes_on:
            found.add(((begin, place), kind))
            kind = ""
        if own and not goes_on:
            begin, kind = place, own
        if kind and prefix and prefix in ENDS:
            found.add(((begin, place + 1), kind))
            kind = ""
    return found


def _parts(tag: str) -> tuple[str, str]:
    """Prefix and type; a bare label goes on with its equal."""
    if tag == "O":
        return "", ""
    prefix, dash, kind = tag.partition("-")
    return (prefix, kind) if dash and prefix in PREFIXES else ("I", tag)
