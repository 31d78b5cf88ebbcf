"""The certificate, and what shows it: a page, Markdown for a pull request, JUnit XML for a build server."""

from __future__ import annotations

from compiler.records import Built, Certificate, Checked, Machine, Measured, Optimized
from compiler.report.inputs import read, single
from compiler.report.junit import junit
from compiler.report.markdown import markdown
from compiler.report.page import html

__all__ = ["certificate", "html", "junit", "markdown", "read", "single"]


def certificate(
    *,
    optimized: Optimized,
    built: Built,
    checked: Checked,
    measured: Measured | None,
    budget: dict[str, float],
    machine: Machine,
    created: str,
) -> Certificate:
    """The verdict: `fail` with the reason code of every finding outside its limit, otherwise `pass`.

    Args:
        optimized: what the engine was built from, with its passes and the portable model's record.
        built: the engine, and what really runs.
        checked: parity with PyTorch.
        measured: None where nothing was timed; speed never decides the verdict.
        budget: the limits that held, by the names of `records.Budget`.
        machine: where all of it was done.
        created: when, in ISO 8601.
    """
    return Certificate(
        verdict="pass" if checked.passed else "fail",
        reasons=checked.reasons,
        source=optimized.exported.source,
        task=optimized.exported.task,
        profile=optimized.profile,
        precision=optimized.precision,
        budget=budget,
        created=created,
        passes=optimized.passes,
        placement=built.placement,
        checked=checked,
        measured=measured,
        machine=machine,
        versions={**optimized.exported.versions, built.engine: built.engine_version},
        plans=built.plans,
        context_length=checked.context,
        stated_context=optimized.exported.stated_context,
        context_reason=optimized.exported.context_reason,
        padding=optimized.exported.padding,
        unread=optimized.exported.unread,
    )
