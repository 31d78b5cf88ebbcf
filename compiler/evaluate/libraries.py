"""The libraries that some metrics rest on; the extra `evaluate` installs them."""

from __future__ import annotations

from importlib.util import find_spec

from compiler.errors import UsageError


def needs(*libraries: str) -> None:
    """Raises UsageError that names the command which installs what is missing."""
    missing = [library for library in libraries if find_spec(library) is None]
    if missing:
        raise UsageError(
            f"a metric needs {', '.join(missing)}",
            found="not installed",
            action="pip install 'transformer-compiler[evaluate]'",
        )
