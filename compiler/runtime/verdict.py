"""A bundle that answers although its certificate says that its answers left their limits."""

from __future__ import annotations

import functools
import warnings

from compiler.records import Certificate


class VerdictWarning(UserWarning):
    """A bundle was loaded whose certificate says "fail"."""


def warn(name: str, certificate: Certificate) -> None:
    """Warn with `VerdictWarning` where the verdict is "fail"; once a process for the same bundle."""
    if certificate.verdict == "fail":
        _warn_once(f'{name}: its certificate says "fail": {", ".join(certificate.reasons) or "no reason is given"}')


@functools.cache
def _warn_once(text: str) -> None:
    warnings.warn(text, VerdictWarning, stacklevel=4)
