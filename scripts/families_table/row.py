"""One family through export, lowering, engine and check, and its generation beside transformers' own."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import compiler
from compiler import pipeline, records
from compiler.checkpoint.quiet import quiet
from compiler.records import Certificate, Exported
from tests.families import GENERATE, Family, checkpoint

PROMPTS = ["the cat sat on", "a dog", "on the mat a cat and a dog sat"]
NEW_TOKENS, BEAMS = 48, 4
FUSED = ("MultiHeadAttention", "GroupQueryAttention")
NORMS = ("LayerNormalization", "RMSNormalization")


@dataclass(frozen=True)
class Row:
    """What one family gave. `error` and `limit` are absolute, `agreement` is of greedy and beam search tokens."""

    family: str
    task: str
    attention: int = 0
    fused: int = 0
    norms: int = 0
    rotary: int = 0
    error: float = 0.0
    limit: float = 0.0
    agreement: str = ""
    seconds: float = 0.0
    failure: str = ""


def run(family: Family, folder: Path) -> Row:
    """Compile in float32, check, and compare. A failure of any kind is the row's."""
    try:
        with quiet():
            return _run(family, folder)
    except Exception as error:  # noqa: BLE001 - one family must not end the table
        first = (str(error).strip() or type(error).__name__).splitlines()
        return Row(family.name, family.task, failure=" ".join(line.strip() for line in first[:2])[:160])


def _run(family: Family, folder: Path) -> Row:
    saved = checkpoint(family, folder / "checkpoint")
    exported_in = pipeline.export(str(saved), task=family.task, out=folder / "exported")
    bundle = pipeline.build(str(saved), task=family.task, precision="float32", bench=False, out=folder / "bundle")
    exported = records.load(exported_in / "exported.json", Exported)
    certificate = records.load(bundle / "certificate.json", Certificate)
    portable = _nodes(exported_in, exported)
    placed = Counter(dict.fromkeys(FUSED, 0))
    for place in certificate.placement:
        placed[place.operator] += place.count
    worst = next(each for each in certificate.checked.findings if each.name == "output.max_abs_error")
    agreement = _agreement(family, saved, bundle) if certificate.checked.findings and exported.cache else ""
    fused = sum(placed[name] for name in FUSED)
    failure = "" if agreement in ("", "equal") else f"generation: {agreement}"
    if (portable["Attention"], fused) != (family.whole, family.fused):
        failure = (
            f"{portable['Attention']} attention nodes kept whole and {fused} fused, "
            f"{family.whole} and {family.fused} expected"
        )
    return Row(
        family=family.name,
        task=family.task,
        attention=portable["Attention"],
        fused=fused,
        norms=sum(portable[name] for name in NORMS),
        rotary=portable["RotaryEmbedding"],
        error=worst.value,
        limit=worst.limit or 0.0,
        agreement=agreement,
        seconds=exported.seconds,
        failure=failure,
    )


def _nodes(folder: Path, exported: Exported) -> Counter[str]:
    import onnx

    graphs = [exported.model, *([exported.encoder.model] if exported.encoder else ())]
    return Counter(
        node.op_type for name in graphs for node in onnx.load(folder / name, load_external_data=False).graph.node
    )


def _agreement(family: Family, saved: Path, bundle: Path) -> str:
    """ "equal", or how many of the tokens before the first other one are."""
    theirs = {beams: reference(family, saved, beams) for beams in (1, BEAMS)}
    with compiler.load(bundle) as model:
        for beams, expected in theirs.items():
            found = model.generate(
                PROMPTS, max_new_tokens=NEW_TOKENS, min_new_tokens=NEW_TOKENS, beams=beams, details=True
            )
            tokens = [list(each.tokens) for each in found]
            if tokens != expected:
                same = [_common(*pair) for pair in zip(tokens, expected, strict=True)]
                return f"{'greedy' if beams == 1 else 'beams'} differ after {same} tokens"
    return "equal"


def reference(family: Family, saved: Path, beams: int) -> list[list[int]]:
    """The `NEW_TOKENS` that transformers' `generate` gives for each prompt, all prompts in one batch.

    XLNet's `generate` does not mask padding and caches by default what later tokens would have changed: its prompts go
    alone, without that cache.
    """
    import torch
    import transformers

    model: Any = getattr(transformers, family.model).from_pretrained(saved).eval()
    tokenizer: Any = transformers.AutoTokenizer.from_pretrained(saved, padding_side="left")
    options: dict[str, Any] = {"do_sample": False, "num_beams": beams}
    options |= dict.fromkeys(("min_new_tokens", "max_new_tokens"), NEW_TOKENS)
    batches = [PROMPTS]
    if family.model_type == "xlnet":
        options["use_mems"] = False
        batches = [[prompt] for prompt in PROMPTS]
    answers = []
    for batch in batches:
        if family.task != GENERATE:
            tokenizer.padding_side = "right"
        feeds = tokenizer(batch, return_tensors="pt", padding=True, return_token_type_ids=False)
        with torch.inference_mode():
            tokens = model.generate(**feeds, **options)
        start = feeds["input_ids"].shape[1] if family.task == GENERATE else 1
        answers += tokens[:, start:].tolist()
    return answers


def _common(one: list[int], other: list[int]) -> int:
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
