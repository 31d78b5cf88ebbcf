"""Are the model's tokens those that transformers makes of the checkpoint? Chats and labels too.

Numbers are compared by the same ids on both sides, so ids themselves need a comparison of their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple, Protocol

from compiler.records import Finding
from compiler.records.findings import finding

Pair = tuple[str, str]
Row = tuple[Sequence[int], Sequence[int]]  # ids, and the text of a pair that each belongs to; () where nobody asks
Message = Mapping[str, str]


class Tokenized(Protocol):
    """What one side makes of texts. `limit` is where texts are cut, 0 for never."""

    def rows(self, texts: Sequence[str | Pair]) -> Sequence[Row]: ...

    def chat(self, messages: Sequence[Message]) -> Sequence[int] | None:
        """The ids of a conversation that asks for an answer; None where there is no template or it refuses."""
        ...

    @property
    def vocabulary(self) -> Mapping[str, int]: ...

    @property
    def special(self) -> Sequence[str]: ...

    @property
    def labels(self) -> Sequence[str]: ...

    @property
    def limit(self) -> int: ...


class Original(Tokenized, Protocol):
    """`basis` says whose tokens these are."""

    @property
    def basis(self) -> str: ...


class Sides(NamedTuple):
    """The bundle's runtime, and transformers with the checkpoint."""

    ours: Tokenized
    theirs: Original


TEXTS = (
    "",
    " ",
    "\n",
    "The quick brown fox jumps over the lazy dog.",
    "  two spaces in front, two behind  ",
    "runs  of   spaces    and\ttabs\t\tand\nlines\n\n\nand\r\nothers\r",
    "no\u00a0break\u2003wide\u200bzero\u2028line\u3000ideographic\ufeffmark",
    "UPPER lower MiXeD ÄÖÜ ẞ ß İ ı Σίσυφος ΟΔΟΣ ǅ ﬁ ﬂ",
    "café cafe\u0301 A\u030a Å \u212b q\u0323\u0307 q\u0307\u0323",
    "½ ² № ™ Ⅷ ａｂｃ １２３ ㎏ ℌ",
    "don't can't we'll I'm 'quoted' it’s “so” «là» -- – — … .",
    "3.14159 1,000,000 -7 1e-10 0x1F 12345678901234567890 007 ٣٤٥ १२३",
    "def f(x):\n    return {'a': [x ** 2, x != 3]}  # ok\n",
    "https://example.org/a/b?c=d&e=%20#f user@example.org C:\\dir\\file.txt",
    "😀 👍🏽 👩‍👩‍👧‍👦 🇩🇪 ☺️ ❤",
    "我爱北京天安门。日本語のテキスト、カタカナと漢字。한국어 문장",
    "ภาษาไทย हिन्दी क्षत्रिय বাংলা தமிழ் မြန်မာ",
    "العربية بِسْمِ ٱللَّهِ עִבְרִית שָׁלוֹם فارسی",
    "Привет, мир! Ёжик Їжак Ђорђе Γειά σου Կոստան გამარჯობა",
    "Latin и кириллица 与汉字 مع العربية mixed",
    "\U0001d4d7\U0001d4ee\U0001d4f5\U0001d4f5\U0001d4f8 \U00010330\U00010331 \U00020000 \U0010ffff \ufffd \ue000",
    "a\x00b\x01c\x07d\x1be\x7ff\x85g\u202eh\u00adi",
    "supercalifragilisticexpialidocious" * 8,
    "x" * 300,
    "!?;:,.()[]{}<>/\\|@#$%^&*_+=~`\"'",
    "▁ Ġ Ċ ## ##ing </w> @@ <0x0A> <unk> <s> [MASK]",
    "a\n\nb\n \n c",
    "trailing newline\n",
)
LONG = "A text that goes on, naïvely; ünïcode 漢字 2024! "
CONVERSATIONS: tuple[Sequence[Message], ...] = (
    ({"role": "user", "content": "What is 2 + 2?"},),
    ({"role": "system", "content": "Be brief."}, {"role": "user", "content": "  Hi!\n"}),
    (
        {"role": "user", "content": "Grüße 😀"},
        {"role": "assistant", "content": "Hello,\n\nhow are you? "},
        {"role": "user", "content": "fine"},
    ),
    (
        {"role": "system", "content": 'You know <b>HTML</b> & "quotes".'},
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"},
        {"role": "user", "content": ""},
    ),
)
PAIRED = frozenset({"text-classification", "question-answering", "multiple-choice", "next-sentence-prediction"})
SPECIAL, CHARACTERS = 12, 12  # special tokens written into texts; characters that fill a token for sure


def token_findings(sides: Sides, texts: Sequence[str], task: str) -> list[Finding]:
    """How many texts, conversations, entries of the vocabulary and labels differ; none may.

    Args:
        texts: running text, for what is neither odd nor long.
        task: a key of `tasks.TASKS`: some models read two texts together, others hold conversations.
    """
    ours, theirs = sides
    asked = _texts(theirs, texts, task in PAIRED)
    chats = [(_ids(ours.chat(each)), _ids(theirs.chat(each))) for each in CONVERSATIONS if task == "text-generation"]
    if not any(answer for both in chats for answer in both):  # no template on either side
        chats = []
    differ = [
        *(f"text {_brief(text)}" for text, *rows in zip(asked, ours.rows(asked), theirs.rows(asked), strict=True)
          if not _same(*rows)),
        *(f"conversation {number}" for number, (one, other) in enumerate(chats) if one != other),
        *(f"token {_brief(token)}" for token, _ in sorted(ours.vocabulary.items() ^ theirs.vocabulary.items())),
        *(f"label {name}" for name in _apart(ours.labels, theirs.labels)),
    ]  # fmt: skip
    counts = {
        "texts": len(asked),
        "conversations": len(chats),
        "tokens": len(theirs.vocabulary),
        "labels": len(theirs.labels),
    }
    compared = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
    first = f"; the first that differs: {differ[0]}" if differ else ""
    return [
        finding(
            "tokens.differences",
            float(len(differ)),
            sum(counts.values()),
            limit=0.0,
            basis=f"{compared}, each as {theirs.basis} has it{first}",
        )
    ]


def _texts(theirs: Tokenized, running: Sequence[str], pairs: bool) -> list[str | Pair]:
    size = CHARACTERS * max(theirs.limit, 64)
    long = [LONG * (1 + size // len(LONG)), "word " * (size // 5)]
    special = [token for token in theirs.special if token][:SPECIAL]
    written = [text for token in special for text in (token, f"a {token} b", f"a{token}b")]
    single = [*TEXTS, *running[:16], *written, *long]
    if not pairs:
        return list(single)
    cut = [text[:size] for text in single]  # transformers makes every pair of pieces
    together: list[str | Pair] = [*pairwise(cut), (long[0], "short"), ("short", long[0]), (long[0], long[1])]
    return [*single, *together]


def _same(ours: Row, theirs: Row) -> bool:
    return all(list(one) == list(other) for one, other in zip(ours, theirs, strict=True))


def _ids(row: Sequence[int] | None) -> list[int] | None:
    return None if row is None else list(row)


def _apart(ours: Sequence[str], theirs: Sequence[str]) -> list[str]:
    if len(ours) != len(theirs):
        return [f"count {len(ours)} for {len(theirs)}"]
    return [repr(other) for one, other in zip(ours, theirs, strict=True) if one != other]


def _brief(text: str | Pair) -> str:
    return ascii(text)[:60]
