"""Two small models that half a minute of training makes right on questions they have not seen.

A GPT-2 learns to write numbers in digits ("four hundred six =" to "4 0 6"), a T5 to write dates in digits ("third of
march nineteen ten", "march three nineteen ten" to "1 9 1 0 - 0 3 - 0 3"). Every token is a word or a digit.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from compiler.checkpoint.quiet import quiet

PAD, END, UNKNOWN, EQUALS = range(4)
SMALL = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
)
TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
MONTHS = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)
WORDS = (
    *("<pad>", "</s>", "<unk>", "=", *SMALL, *TENS, "hundred", "thousand"),
    *(*MONTHS, "the", "of", "-", *"0123456789"),
)
NUMBER = {word: number for number, word in enumerate(WORDS)}
HELD_OUT = 200
BATCH, RATE = 64, 3e-3


class Item(NamedTuple):
    """A question and its answer, both of words with spaces between."""

    question: str
    answer: str

    def tokens(self) -> tuple[list[int], list[int]]:
        """Of the question, and of the answer with its end."""
        question, answer = ([NUMBER[word] for word in text.split()] for text in self)
        return question, [*answer, END]


def numbers() -> tuple[list[Item], list[Item]]:
    """(to learn from, held out)"""
    return _parted(Item(f"{in_words(number)} =", " ".join(str(number))) for number in range(10_000))


def dates() -> tuple[list[Item], list[Item]]:
    """(to learn from, held out)"""
    days = ((year, month, day) for year in range(1901, 2000) for month in range(12) for day in range(1, 29))
    return _parted(_date(*each) for each in days)


def in_words(number: int) -> str:
    for unit, name in ((1000, "thousand"), (100, "hundred")):
        if number >= unit:
            rest = f" {in_words(number % unit)}" if number % unit else ""
            return f"{in_words(number // unit)} {name}{rest}"
    if number < len(SMALL):
        return SMALL[number]
    return TENS[number // 10 - 2] + (f" {SMALL[number % 10]}" if number % 10 else "")


def gpt2(folder: Path) -> Path:
    """Train on `numbers`; 10 s on one core."""
    import torch
    import transformers

    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=len(WORDS),
        n_positions=64,
        n_embd=64,
        n_layer=2,
        n_head=4,
        pad_token_id=PAD,
        bos_token_id=END,
        eos_token_id=END,
        **dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0),
    )
    items, _ = numbers()
    return _teach(transformers.GPT2LMHeadModel(config), lambda chosen: _continued(chosen(items, BATCH)), 400, folder)


def t5(folder: Path) -> Path:
    """Train on `dates`; 20 s on one core."""
    import torch
    import transformers

    torch.manual_seed(0)
    config = transformers.T5Config(
        vocab_size=len(WORDS),
        d_model=64,
        d_kv=16,
        d_ff=128,
        num_layers=2,
        num_heads=4,
        relative_attention_num_buckets=16,
        relative_attention_max_distance=32,
        dropout_rate=0.0,
        pad_token_id=PAD,
        decoder_start_token_id=PAD,
        eos_token_id=END,
    )
    items, _ = dates()
    model = transformers.T5ForConditionalGeneration(config)
    return _teach(model, lambda chosen: _answered(chosen(items, BATCH)), 500, folder)


def _date(year: int, month: int, day: int) -> Item:
    spelled = f"nineteen {in_words(year - 1900)}"
    first = f"the {in_words(day)} of {MONTHS[month]}" if (year + day) % 2 else f"{MONTHS[month]} {in_words(day)}"
    return Item(f"{first} {spelled}", " ".join(f"{year}-{month + 1:02}-{day:02}"))


def _parted(items: Iterator[Item]) -> tuple[list[Item], list[Item]]:
    shuffled = list(items)
    random.Random(0).shuffle(shuffled)
    return shuffled[HELD_OUT:], shuffled[:HELD_OUT]


def _continued(rows: list[Item]) -> dict[str, Any]:
    """Questions with their answers; only the answers are learned."""
    parts = [row.tokens() for row in rows]
    feeds = _padded([question + answer for question, answer in parts])
    return {**feeds, "labels": _column([[-100] * len(question) + answer for question, answer in parts], -100)}


def _answered(rows: list[Item]) -> dict[str, Any]:
    """Questions for the encoder, answers for the decoder."""
    parts = [row.tokens() for row in rows]
    feeds = _padded([[*question, END] for question, _ in parts])
    return {**feeds, "labels": _column([answer for _, answer in parts], -100)}


def _padded(rows: list[list[int]]) -> dict[str, Any]:
    ids = _column(rows, PAD)
    return {"input_ids": ids, "attention_mask": (ids != PAD).long()}


def _column(rows: list[list[int]], fill: int) -> Any:
    import torch

    longest = max(map(len, rows))
    return torch.tensor([row + [fill] * (longest - len(row)) for row in rows])


def _teach(model: Any, batch: Callable[[Any], dict[str, Any]], steps: int, folder: Path) -> Path:
    """Train from random weights on batches drawn with `random.sample`."""
    import torch

    draw = random.Random(0)
    optimizer = torch.optim.AdamW(model.parameters(), RATE, weight_decay=0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    for _ in range(steps):
        loss = model(**batch(draw.sample)).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    with quiet():
        model.eval().save_pretrained(folder)
    _tokenizer(model.config.is_encoder_decoder).save_pretrained(folder)
    return folder


def _tokenizer(ends: bool) -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.WordLevel(NUMBER, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    if ends:
        made.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", END)])
    side = "right" if ends else "left"
    return PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", padding_side=side
    )
