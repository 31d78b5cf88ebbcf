"""Whether a bundle answers here with what its certificate was made with."""

from __future__ import annotations

import functools
import warnings

from compiler import machine
from compiler.records import Certificate, Serving


class ElsewhereWarning(UserWarning):
    """A bundle answers with another engine, or on another kind of processor or fewer cores, than it was built for."""


def differences(certificate: Certificate, serving: Serving) -> list[str]:
    """What is not as it was certified, each with both names: engine and version, kind of processor."""
    pairs = []
    if (then := certificate.checked.serving) and (then.engine, then.version) != (serving.engine, serving.version):
        pairs.append((f"{then.engine} {then.version}", f"{serving.engine} {serving.version}"))
    pairs.append((machine.kind(certificate.machine), machine.kind(machine.detect())))
    return [f"{here} here, certified with {there}" for there, here in pairs if there != here]


def warn(name: str, certificate: Certificate, serving: Serving) -> None:
    """Warn with `ElsewhereWarning` of `differences`; once a process for the same ones."""
    if found := differences(certificate, serving):
        _warn_once(f"{name}: {'; '.join(found)}. `compile check` certifies it anew on this machine")


def warn_of_threads(name: str, asked: int) -> None:
    """Warn with `ElsewhereWarning` where the engine takes fewer threads than were asked for."""
    if (used := machine.threads(asked)) < asked:
        _warn_once(f"{name}: built for {asked} threads, {used} are used, as many as this machine has cores")


@functools.cache
def _warn_once(text: str) -> None:
    warnings.warn(text, ElsewhereWarning, stacklevel=4)
