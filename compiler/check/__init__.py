"""Parity: are the engine's answers still the reference's?

`check` compares on realistic inputs and judges every difference by a limit that has a reason (`limits`).
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from compiler.check.bisect import bisect
from compiler.check.compare import INCOMPARABLE
from compiler.check.decoder import compare_decoder
from compiler.check.driving import driven_findings
from compiler.check.encoder import compare_encoder
from compiler.check.encoder_decoder import compare_encoder_decoder
from compiler.check.feeds import Text
from compiler.check.limits import LOGITS, Limits
from compiler.check.references import Compared, OpenReference
from compiler.check.rounding import method_of
from compiler.check.steps import about, step
from compiler.check.tokens import Sides, token_findings
from compiler.checkpoint.marks import Marks
from compiler.engines import Session
from compiler.records import Budget, Checked, Finding, Manifest, PassRun

__all__ = ["Sides", "bisect", "check"]

COMPARE = {"encoder": compare_encoder, "decoder": compare_decoder, "encoder-decoder": compare_encoder_decoder}


def check(
    session: Session,
    manifest: Manifest,
    open_reference: OpenReference,
    texts: Sequence[str],
    *,
    budget: Budget,
    tokenizer: Path,
    marks: Marks | None = None,
    adapters: Mapping[str, tuple[Session, OpenReference]] | None = None,
    tokens: Sides | None = None,
    passes: Sequence[PassRun] = (),
) -> Checked:
    """Compare an engine with PyTorch.

    Args:
        session: the engine, open.
        manifest: what it is; its list of files is not used and may still be empty.
        open_reference: opens the checkpoint in a dtype, such as `functools.partial(Reference, folder, task)`.
        texts: running text that no calibration has seen; a few thousand words are enough.
        budget: limits for quantized precisions, and the factor on the reference's noise for float32.
        tokenizer: the checkpoint's tokenizer.json.
        marks: its tokens for padding and gaps, as `checkpoint.marks` reads them; None is a checkpoint without any.
        tokens: what both sides make of texts; None leaves tokens, chats and labels uncompared.
        passes: what made the engine's graphs; without them errors of rounding are judged by the budget alone.
        adapters: by name, the engine with each adapter in effect, and what opens the same in PyTorch.

    Raises:
        InputError: the text is too short, or the graph has an input that is not made of text.
    """
    start = time.perf_counter()
    text, method = Text(texts, tokenizer, marks or Marks()), method_of(passes)

    def compared(engine: Session, reference: OpenReference) -> Compared:
        found = COMPARE[manifest.kind](engine, manifest, reference, text, budget, method=method)
        if found.findings[-1].name in INCOMPARABLE:
            return found
        limits = Limits(manifest.precision, budget, found.noise, LOGITS)
        return found._replace(findings=[*found.findings, *driven_findings(engine, manifest, text, limits)])

    found = compared(session, open_reference)
    if tokens is not None:
        step("tokens, conversations, vocabulary and labels")
        found = found._replace(findings=[*found.findings, *token_findings(tokens, texts, manifest.task)])
    adapted = {}
    for name, each in (adapters or {}).items():
        with about(f'adapter "{name}"'):
            adapted[name] = tuple(compared(*each).findings)
    reasons = [_reason(finding) for finding in found.findings if not finding.passed]
    reasons += [f"{name}: {_reason(each)}" for name, every in adapted.items() for each in every if not each.passed]
    return Checked(
        precision=manifest.precision,
        findings=tuple(found.findings),
        reasons=tuple(reasons),
        noise=found.noise.error,
        noise_source=found.noise.source,
        context=found.context,
        seconds=time.perf_counter() - start,
        adapters=adapted,
    )


def _reason(finding: Finding) -> str:
    return f"{finding.name}: undecided" if finding.undecided else finding.name
