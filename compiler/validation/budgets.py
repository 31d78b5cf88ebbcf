"""A budget that was asked for, and what of a profile's is about this model: settled before any work is done."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from compiler.errors import ProfileError, UsageError, did_you_mean
from compiler.profile.content import KINDS
from compiler.profile.judged import AGAINST_PYTORCH, EXACT, Answers, judged, judged_of
from compiler.records import Budget
from compiler.tasks import TASKS
from compiler.validation.walk import Mistake


def known(changes: Mapping[str, float]) -> None:
    """Nothing where every name is a limit's, and every value one that it can have.

    Raises:
        UsageError: it names the first that is not.
    """
    fields = Budget.__struct_fields__
    for name, value in changes.items():
        if name not in fields:
            raise UsageError(
                f'budget "{name}" is unknown',
                expected=", ".join(fields),
                action=did_you_mean(name, fields) or "choose one",
            )
        try:
            msgspec.convert({name: value}, Budget)
        except msgspec.ValidationError as error:
            raise UsageError(f'budget "{name}": {str(error).partition(" - at")[0]}', found=repr(value)) from error
        if isinstance(value, float) and not math.isfinite(value):
            raise UsageError(f'budget "{name}": not a finite number', found=repr(value), action="name a limit")


def answers_of(task: str, config: Mapping[str, Any], width: int | str | None = None) -> Answers:
    """What a model's answers are.

    Args:
        task: a key of `TASKS`.
        config: config.json.
        width: of the output, as the graph has it; None takes the number of labels of the configuration.
    """
    from compiler.check.meanings import meaning

    kind = TASKS[task].kind
    if kind != "encoder":
        return kind
    labels = config.get("id2label")
    declared = len(labels) if isinstance(labels, dict) else config.get("num_labels", 2)
    return meaning(task, declared if width is None else width, config)


def settled(base: Budget, changes: Mapping[str, float], answers: Answers, precision: str, owner: str) -> Budget:
    """The limits that are judged, each of which can be broken.

    Args:
        base: the profile's, of which limits for other models are left out.
        changes: what a user asks for, all of which must be judged.
        owner: of `base`, for a message.

    Raises:
        UsageError: a change is not known or not judged.
        ProfileError: nothing says how far answers in this precision may leave PyTorch's.
    """
    known(changes)
    fields = judged(answers, precision)
    ordered = ", ".join(name for name in Budget.__struct_fields__ if name in fields)
    for name in changes:
        if name not in fields:
            raise UsageError(
                f'budget "{name}" would judge nothing',
                found=f"{_said(answers)}, in {precision}",
                expected=ordered,
                action=_why(name, precision) or "leave it out, or choose one of these",
            )
    given = {**msgspec.structs.asdict(base), **changes}
    found = msgspec.convert({name: value if name in fields else None for name, value in given.items()}, Budget)
    if precision != EXACT and all(getattr(found, name) is None for name in AGAINST_PYTORCH):
        needed = ", ".join(name for name in Budget.__struct_fields__ if name in fields & AGAINST_PYTORCH)
        raise ProfileError(
            f"{owner} does not limit how far answers in {precision} may leave PyTorch's",
            found=_said(answers),
            expected=f"one of {needed}",
            action="add it to the profile's budget, or give it with --budget",
        )
    return found


def budget_mistakes(data: Mapping[str, Any]) -> Iterator[Mistake]:
    """Limits in a profile that no model of their kind is held against; what has the wrong type is left to the walk."""
    for kind in KINDS:
        recipe = data.get(kind)
        if not isinstance(recipe, dict) or not isinstance(precisions := recipe.get("precisions"), dict):
            continue
        own = budgets if isinstance(budgets := recipe.get("budgets"), dict) else {}
        tables = {f"{kind}.budget": (recipe.get("budget"), [name for name in precisions if name not in own])}
        tables |= {f"{kind}.budgets.{name}": (table, [name]) for name, table in own.items() if name in precisions}
        for path, (table, users) in tables.items():
            for name in table if isinstance(table, dict) and users else ():
                if name in Budget.__struct_fields__ and name not in judged_of(kind, users):
                    yield Mistake(
                        f"{path}.{name}", "would judge nothing", _why(name, users[0]) or f"no {kind} is compared so"
                    )


def _said(answers: Answers) -> str:
    if answers in {"decoder", "encoder-decoder"}:
        return f"a model of the kind {answers}"
    return f"a model that answers with {answers}"


def _why(name: str, precision: str) -> str:
    if name == "noise_factor" and precision != EXACT:
        return f"only {EXACT} is judged by noise"
    if name == "rounding_factor" and precision == EXACT:
        return f"{EXACT} rounds nothing, and is judged by noise"
    if name == "min_greedy_agreement" and precision == EXACT:
        return f"in {EXACT} every greedy token must be PyTorch's, ties aside"
    return ""
