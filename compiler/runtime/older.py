"""A bundle that was sealed before something was recorded that its answers may depend on."""

from __future__ import annotations

import functools
import warnings

from compiler.records import Manifest


class OlderBundleWarning(UserWarning):
    """A bundle is so old that it is used with more care, and more slowly, than one that is built today."""


def warn(name: str, manifest: Manifest) -> None:
    """Warn with `OlderBundleWarning` of an encoder that does not say whether padding changes its answers.

    Once a process for the same bundle. Its texts are read with others of equal length only: there is no padding then.
    """
    if manifest.kind == "encoder" and manifest.padding == "unknown":
        _warn_once(
            f"{name}: sealed before bundles said whether padding changes answers, so that only texts of equal length "
            "are read together, which takes longer; build it again"
        )


@functools.cache
def _warn_once(text: str) -> None:
    warnings.warn(text, OlderBundleWarning, stacklevel=4)
