"""The same items, written worse: with typing errors, in capitals, cut in half, or padded in a batch."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import numpy as np

from compiler.engines import Decoding, Feeds, Session
from compiler.errors import UsageError, did_you_mean
from compiler.evaluate.columns import Item
from compiler.evaluate.evidence import Evidence
from compiler.evaluate.scored import Scored
from compiler.records import CacheShape, Manifest
from compiler.runtime.text import Text

TYPOS = 0.15  # share of words that get one
PADDING = 32  # tokens

Change = Callable[[str, random.Random], str]


def _typo(word: str, generator: random.Random) -> str:
    """One letter swapped with the next, dropped or doubled, in some of the words that have letters to spare."""
    if len(word) < 3 or generator.random() >= TYPOS:
        return word
    at = generator.randrange(len(word) - 1)
    match generator.choice(("swap", "drop", "double")):
        case "swap":
            return word[:at] + word[at + 1] + word[at] + word[at + 2 :]
        case "drop":
            return word[:at] + word[at + 1 :]
        case _:
            return word[: at + 1] + word[at:]


WORDS: dict[str, Change] = {"typos": _typo, "case": lambda word, _: word.upper()}
KINDS = (*WORDS, "truncation", "padding")
CHANGED = ("text", "pair", "question")  # what is asked; what the answer is found in stays, or it would not be there


def changed(items: Sequence[Item], kind: str, seed: int, keep: str) -> list[Item]:
    """The items with their texts changed.

    Args:
        kind: "typos", "case" or "truncation".
        seed: decides which letters, for each item by its place.
        keep: a token that stays as it is (the mask), or "".
    """
    return [_changed(item, kind, random.Random(f"{seed} {place}"), keep) for place, item in enumerate(items)]


def _changed(item: Item, kind: str, generator: random.Random, keep: str) -> Item:
    if kind == "truncation":
        return _halved(item, keep)
    change = WORDS[kind]

    def each(word: str) -> str:
        return word if keep and keep in word else change(word, generator)

    texts = {role: " ".join(map(each, item[role].split(" "))) for role in CHANGED if role in item}
    words = {"words": [each(word) for word in item["words"]]} if "words" in item else {}
    return {**item, **texts, **words}


def _halved(item: Item, keep: str) -> Item:
    """The first half of every text, or the second where the mask is."""
    new = dict(item)
    for role in CHANGED:
        if role in item:
            words = item[role].split(" ")
            half = -(-len(words) // 2)
            first = " ".join(words[:half])
            new[role] = first if not keep or keep not in item[role] or keep in first else " ".join(words[half:])
    for role in ("words", "tags"):
        if role in item:
            new[role] = item[role][: -(-len(item[role]) // 2)]
    return new


class Padded:
    """A session that is given more padding than it needs, as a longer text in the batch would bring it."""

    def __init__(self, session: Session, pad: int, limit: int) -> None:
        self._session, self._pad, self._limit = session, pad, limit

    def run(self, feeds: Feeds) -> Feeds:
        """See `engines.Session.run`."""
        width = feeds["input_ids"].shape[-1]
        extra = max(0, min(PADDING, self._limit - width))
        outputs = self._session.run({name: self._wider(name, array, extra) for name, array in feeds.items()})
        return {
            name: array[:, :width] if array.ndim > 1 and array.shape[1] == width + extra else array
            for name, array in outputs.items()
        }

    def decode(self, cache: CacheShape, batch: int, capacity: int, constants: Feeds | None = None) -> Decoding:
        """See `engines.Session.decode`."""
        return self._session.decode(cache, batch, capacity, constants)

    def close(self) -> None:
        """See `engines.Session.close`."""
        self._session.close()

    def _wider(self, name: str, array: np.ndarray, extra: int) -> np.ndarray:
        more = [(0, 0)] * (array.ndim - 1) + [(0, extra)]
        if name == "position_ids":
            return np.tile(np.arange(array.shape[-1] + extra, dtype=array.dtype), (*array.shape[:-1], 1))
        return np.pad(array, more, constant_values=self._pad if name == "input_ids" else 0)


def kinds(names: Sequence[str], text: Text, manifest: Manifest) -> list[str]:
    """The kinds of these names; "all" is every kind that means something to the model.

    Raises:
        UsageError: a name is unknown, or the model is named one that means nothing to it.
    """
    for name in names:
        if name not in {*KINDS, "all"}:
            raise UsageError(
                f"robustness {name}: unknown",
                expected=", ".join((*KINDS, "all")),
                action=did_you_mean(name, (*KINDS, "all")),
            )
    possible = [kind for kind in KINDS if kind != "padding" or _can_pad(text, manifest)]
    if "padding" in set(names) - set(possible):
        raise UsageError(
            f"robustness padding: not for this model ({manifest.task})",
            expected=", ".join((*possible, "all")),
            action="an encoder that hides padding by an attention mask can be asked",
        )
    return [kind for kind in possible if kind in names or "all" in names]


def _can_pad(text: Text, manifest: Manifest) -> bool:
    """Whether a text's padding is hidden from this model, which must be an encoder."""
    masked = any(tensor.name == "attention_mask" for tensor in manifest.inputs)
    declared = text.config.get("pad_token_id") is not None and text.settings.get("padding_side") != "left"
    return manifest.kind == "encoder" and manifest.padding == "hidden" and masked and declared


def under(evidence: Evidence, kind: str, seed: int, mask: str) -> Evidence:
    """The same system under a change."""
    if kind == "padding":
        text = evidence.text
        return evidence.on(evidence.items, Padded(evidence.session, text.pad, text.limit))
    return evidence.on(changed(evidence.items, kind, seed, mask))


def drop(plain: Scored, worse: Scored, higher_is_better: bool) -> Scored:
    """How much a score gets worse, on the same items: above 0 is worse."""
    sign = 1 if higher_is_better else -1
    alike = len(plain.items) == len(worse.items) and plain.weights == worse.weights
    return Scored(
        lambda rows: sign * (plain.statistic(rows) - worse.statistic(rows)),
        plain.count,
        tuple(sign * (one - other) for one, other in zip(plain.items, worse.items, strict=True)) if alike else (),
        plain.interval,
        plain.weights if alike else (),
    )
