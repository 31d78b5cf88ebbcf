"""Which variable a chat template lacked where it failed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jinja2 import Environment, TemplateError, UndefinedError, meta, nodes

TEMPLATE = "<template>"  # Jinja's name for the source of a template that came as text


def lacking(environment: Environment, source: str, error: Exception, given: Mapping[str, Any]) -> tuple[str, ...]:
    """The variables without a value that the line reads at which a template failed; sorted.

    Where None came to that line by another name, all of them that the template reads. Nothing where the failure is not
    about a missing value.
    """
    undefined = isinstance(error, UndefinedError)
    if not undefined and (isinstance(error, TemplateError) or "None" not in str(error)):
        return ()
    tree = environment.parse(source)
    absent = {
        name
        for name in meta.find_undeclared_variables(tree)
        if name not in environment.globals and given.get(name) is None
    }
    line = _line(error)
    here = {node.name for node in tree.find_all(nodes.Name) if node.lineno == line and node.ctx == "load"}
    return tuple(sorted((absent & here) or (set() if undefined else absent)))


def _line(error: Exception) -> int | None:
    """The line of the template that was running."""
    line, trace = None, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == TEMPLATE:
            line = trace.tb_lineno
        trace = trace.tb_next
    return line
