"""Settings of an adapter that PEFT has none of: an adapter of a later version, or of another library."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from compiler.errors import CheckpointError

HARMLESS = re.compile(r"_version$|^version$|dropout|^unsloth_fixed$|^_")
INHERITED = {"ADALORA": "lora"}


def unknown(config: Mapping[str, Any], location: str) -> list[str]:
    """Entries of adapter_config.json that PEFT leaves out, and that change nothing.

    Args:
        config: with a `peft_type`.
        location: the adapter as its user named it.

    Raises:
        CheckpointError: PEFT would leave out an entry that is in effect; it is named.
    """
    found = [name for name in config if name not in settings(str(config["peft_type"]))]
    for name in found:
        if config[name] and not HARMLESS.search(name):
            raise CheckpointError(
                f'{location}: "{name}" of adapter_config.json would be left out',
                found=str(config[name])[:80],
                expected=f"settings that the installed PEFT has for {config['peft_type']}",
                action=f"update peft, or remove {name} if it was never in effect",
            )
    return found


@cache
def settings(tuner: str) -> set[str]:
    """Fields of PEFT's configurations, from their source: to import PEFT takes seconds."""
    spec = importlib.util.find_spec("peft")
    root = Path(next(iter(spec.submodule_search_locations or ()))) if spec else Path()
    files = [root / "config.py", root / "tuners" / "lycoris_utils.py"]
    files += [root / "tuners" / name / "config.py" for name in (tuner.lower(), INHERITED.get(tuner)) if name]
    code = "".join(path.read_text(encoding="utf-8") for path in files if path.is_file())
    return set(re.findall(r"^    (\w+): ", code, re.MULTILINE))
