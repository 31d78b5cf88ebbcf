"""Every error the project raises, and the exit code the command line gives it.

    CompilerError                  1
    ├── UsageError                 2   a wrong argument or option
    │   └── InputError             2   text, tensors or settings that a loaded model cannot take (also a ValueError)
    │       └── ContextError       2   more tokens than the model's context holds
    ├── ProfileError               3   a profile or other configuration file
    ├── CheckpointError            4   the model that was handed in
    ├── ExportError                5   torch -> portable model
    ├── PassError                  6   an optimization pass
    ├── EngineError                7   the engine's own compiler or session
    ├── BudgetError                8   answers left the tolerance or the accuracy budget
    ├── RegressionError            9   a gate between two releases is broken
    ├── EngineUnavailableError    10   this machine lacks the engine or what the profile requires
    ├── IntegrityError            11   a bundle's file was changed, is missing or was added
    └── StorageError              12   the disk is full or not writable

A message names the subject, what was found, what was expected and what to do about it. Only the command line
prints errors and exits; the library raises them.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path


class CompilerError(Exception):
    """Base of all errors. `str(error)` is the whole message for a person; the parts are kept for `--json`.

    Args:
        subject: what the error is about (a file, an option, a node).
        found: what was there.
        expected: what should have been there.
        action: what the user can do.
    """

    exit_code = 1

    def __init__(self, subject: str, *, found: str = "", expected: str = "", action: str = "") -> None:
        self.subject = subject
        self.found = found
        self.expected = expected
        self.action = action
        lines = [subject]
        if found:
            lines.append(f"  found:    {found}")
        if expected:
            lines.append(f"  expected: {expected}")
        if action:
            lines.append(f"  do:       {action}")
        super().__init__("\n".join(lines))


class UsageError(CompilerError):
    exit_code = 2


class InputError(UsageError, ValueError):
    pass


class ContextError(InputError):
    pass


class ProfileError(CompilerError):
    exit_code = 3


class CheckpointError(CompilerError):
    exit_code = 4


class ExportError(CompilerError):
    exit_code = 5


class PassError(CompilerError):
    exit_code = 6


class EngineError(CompilerError):
    exit_code = 7


class BudgetError(CompilerError):
    """`bundle` is the folder that was written all the same, with the verdict "fail"."""

    exit_code = 8
    bundle: Path | None = None


class RegressionError(CompilerError):
    exit_code = 9


class EngineUnavailableError(CompilerError):
    exit_code = 10


class IntegrityError(CompilerError):
    exit_code = 11


class StorageError(CompilerError):
    exit_code = 12


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`did you mean "x"?` for the nearest known word, or an empty string when none is near."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f'did you mean "{near[0]}"?' if near else ""
