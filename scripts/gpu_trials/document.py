"""The table of a run, for people: medians with their quartiles, and how sure a ratio is."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from compiler.records import Machine
from compiler.statistics import ratio_of_medians
from gpu_trials.asked import Asked
from gpu_trials.runners import COMPILED
from gpu_trials.timing import Timed

# At least so many times as fast as torch.compile; set for an H100 with float16.
GOALS = {"encode 1x128": 1.2, "encode 32x384": 1.0}


def table(found: Sequence[Timed]) -> str:
    """Markdown: a row for each workload and runner."""
    lines = [
        "| workload | runner | median, ms | quartiles, ms | samples | times as fast as torch.compile (95 %) |",
        "|---|---|---|---|---|---|",
    ]
    workloads = list(dict.fromkeys(name for timed in found for name in timed.samples))
    for workload in workloads:
        peer = next((timed.samples.get(workload) for timed in found if timed.runner == COMPILED), None)
        lines += [_row(workload, timed, peer) for timed in found if workload in timed.samples]
    return "\n".join([*lines, *_failures(found)])


def _row(workload: str, timed: Timed, peer: Sequence[float] | None) -> str:
    samples = timed.samples[workload]
    low, median, high = (float(value) for value in np.percentile(samples, (25, 50, 75)))
    ratio = ""
    if peer and timed.runner != COMPILED:
        faster = ratio_of_medians(peer, samples)
        goal = GOALS.get(workload)
        ratio = f"{faster.value:.2f} ({faster.low:.2f} to {faster.high:.2f})" + (f", goal {goal:g}" if goal else "")
    return f"| {workload} | {timed.runner} | {median:.3f} | {low:.3f} to {high:.3f} | {len(samples)} | {ratio} |"


def _failures(found: Sequence[Timed]) -> list[str]:
    failed = [f"- {timed.runner}: {' '.join(timed.failure.split())}" for timed in found if timed.failure]
    return ["", "Not measured to the end:", "", *failed] if failed else []


def document(
    *,
    machine: Machine,
    versions: dict[str, str],
    verdicts: dict[str, str],
    tables: dict[str, str],
    asked: Asked,
    date: str,
    raw: str,
) -> str:
    """`docs/measured/gpu-DEVICE.md`: what ran, on what, and the tables by model."""
    gpu = machine.gpus[0]
    sizes = asked.sizes
    head = [
        f"# {gpu.name}",
        "",
        f"Made by `scripts/gpu_check` on {date}; raw samples in `{raw}`.",
        "",
        f"- GPU: {gpu.name}, compute capability {gpu.compute_capability}, {gpu.memory_bytes / 2**30:.0f} GiB",
        f"- driver: CUDA {gpu.driver}; CPU: {machine.cpu}; {machine.system}",
        *(f"- {name}: {version}" for name, version in versions.items()),
        "",
        "All in float16, inputs from the host and answers to it. Every runner is a process of its own; rounds go in",
        f"turns, {sizes.rounds} of them. Decoding: {sizes.new - 1} tokens a round after a prompt of {sizes.prompt}, a",
        "sample is the time of one token of every row. torch.compile: mode reduce-overhead, static shapes and cache.",
    ]
    parts = [f"## {model}\n\nCertificate: {verdicts[model]}.\n\n{text}" for model, text in tables.items()]
    return "\n".join([*head, "", "\n\n".join(parts), ""])


def file_name(gpu: str) -> str:
    """`gpu-nvidia-h100.md` for "NVIDIA H100"."""
    return f"gpu-{re.sub(r'[^a-z0-9]+', '-', gpu.lower()).strip('-')}.md"
