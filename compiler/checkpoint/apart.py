"""An adapter that speaks through its base's tokenizer and chat template: its own must say the same.

Those that are kept apart do, and those that bring no tokenizer.json.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from compiler.checkpoint.adapter import TEMPLATES, WEIGHTS, Adapter
from compiler.checkpoint.weights import shapes
from compiler.corpus import evaluation_text
from compiler.errors import CheckpointError
from compiler.reading import foreign, read_bytes, read_json

SAMPLE = 20_000  # characters
ADDED, JINJA = "added_tokens.json", "chat_template.jinja"


def require_same_texts(adapter: Adapter, base: Path) -> None:
    """Refuse an adapter whose tokenizer makes other tokens than its base's, or whose chat template is another.

    Tokens beyond the base's are let pass: what a text would need them for, the base has no embedding for.

    Args:
        adapter: one that is kept apart.
        base: the folder of its base.

    Raises:
        CheckpointError: it names what differs.
    """
    _require_same_template(adapter, base)
    own, ours = adapter.folder / "tokenizer.json", base / "tokenizer.json"
    if own.is_file() and ours.is_file():
        with foreign(CheckpointError, f"{adapter.location}: tokenizer.json cannot be loaded"):
            found = _difference(own, ours)
        if found:
            raise _another(adapter, "tokenizer", found)


def require_no_texts_of_its_own(adapter: Adapter, base: Path) -> None:
    """Refuse an adapter without tokenizer.json whose chat template, or whose list of added tokens, is not the base's.

    Tokens that neither has an embedding for are let pass. Arguments and errors as above.
    """
    _require_same_template(adapter, base)
    added = adapter.folder / ADDED
    if not added.is_file():
        return
    known, tables = _tokens(base), shapes(adapter.folder / WEIGHTS).items()
    rows = max((shape[0] for name, shape in tables if ".lora_" not in name and len(shape) > 1), default=0)
    for token, number in read_json(added, dict[str, int], CheckpointError).items():
        if known.get(token) != number and (token in known or number < max(rows, len(known))):
            raise _another(adapter, "tokenizer", f"{ADDED}: {token!r} is {number}, in the base {known.get(token)}")


def _require_same_template(adapter: Adapter, base: Path) -> None:
    theirs, ours = templates(adapter.folder), templates(base)
    for name, template in theirs.items():
        if template != ours.get(name) and (ours or not adapter.name):
            found = f"{name}: {str(template)[:60]!r}, the base's is {str(ours.get(name))[:60]!r}"
            raise _another(adapter, "chat template", found)


def _tokens(base: Path) -> Mapping[str, int]:
    """The base's vocabulary; without tokenizer.json, of which transformers would have to make one, its own list."""
    from tokenizers import Tokenizer

    whole = base / "tokenizer.json"
    if whole.is_file():
        with foreign(CheckpointError, f"{whole}: not a tokenizer"):
            return Tokenizer.from_file(str(whole)).get_vocab()
    path = base / ADDED
    return read_json(path, dict[str, int], CheckpointError) if path.is_file() else {}


def _another(adapter: Adapter, what: str, found: str) -> CheckpointError:
    if not adapter.name:
        return CheckpointError(
            f"{adapter.location}: the adapter was trained with another {what} than its base has",
            found=found,
            expected="the base's, or a tokenizer.json beside it, without which it would be left out",
            action=f"save the tokenizer into the adapter with save_pretrained, or remove its {what} if it is not meant",
        )
    return CheckpointError(
        f'{adapter.location}: the adapter "{adapter.name}" was trained with another {what} than its base has',
        found=found,
        expected=f"the base's {what}, which all adapters of a bundle share",
        action=f"compile it in (--adapter {adapter.location} alone), or remove its {what} if it is not meant",
    )


def _difference(own: Path, base: Path) -> str:
    """The first token or text for which one tokenizer gives another id than the other; "" where there is none."""
    from tokenizers import Tokenizer

    theirs, ours = Tokenizer.from_file(str(own)), Tokenizer.from_file(str(base))
    for tokenizer in (theirs, ours):
        tokenizer.no_truncation()
        tokenizer.no_padding()
    known = theirs.get_vocab()
    for token, number in ours.get_vocab().items():
        if known.get(token) != number:
            return f"{token!r} is {known.get(token)}, in the base {number}"
    for line in "\n".join(evaluation_text())[:SAMPLE].splitlines():
        if theirs.encode(line).ids != ours.encode(line).ids:
            return f"other tokens for {line[:60]!r}"
    return ""


def templates(folder: Path) -> dict[str, Any]:
    """A folder's chat templates by name, whichever way they are kept; "default" is the usual one."""
    path = folder / "tokenizer_config.json"
    stated = read_json(path, dict[str, Any], CheckpointError).get("chat_template") if path.is_file() else None
    several = stated if isinstance(stated, list) else [{"name": "default", "template": stated}] if stated else []
    found = {str(each.get("name")): each.get("template") for each in several if isinstance(each, dict)}
    files = {"default": folder / JINJA, **{path.stem: path for path in sorted((folder / TEMPLATES).glob("*.jinja"))}}
    for name, path in files.items():
        if path.is_file():
            found[name] = read_bytes(path, CheckpointError).decode(errors="replace")
    return {name: each.strip() if isinstance(each, str) else each for name, each in found.items() if each}
