"""Sides of a comparison without a model, for tests of what is said about them."""

from __future__ import annotations

from typing import Any

import msgspec

from compiler.compare.sides import Opened
from compiler.records import Certificate, Measured, Series
from compiler.records.comparison import Side
from tests.cli.conftest import certificate

SAMPLES = (5.0, 5.1, 4.9, 5.2, 5.0, 4.8)


def side(name: str = "a", *, precisions: dict[str, str] | None = None, **changes: Any) -> Opened:
    """A certificate's side; `changes` replace fields of the certificate."""
    made = msgspec.structs.replace(certificate(), **changes)
    shown = Side(
        kind="certificate",
        location=name,
        task=made.task,
        profile=made.profile,
        precision=made.precision,
        source_digest=made.source.digest,
        created=made.created,
        verdict=made.verdict,
    )
    return Opened(shown, made, None, None, precisions or {})


def measured(samples: tuple[float, ...] = SAMPLES, **changes: Any) -> Measured:
    """Stored samples of one series."""
    made: Certificate = certificate()
    assert made.measured is not None
    series = Series(name="first token", unit="ms", better="lower", samples=samples)
    engine = msgspec.structs.replace(made.measured.engine, series=(series,))
    return msgspec.structs.replace(made.measured, engine=engine, **changes)
