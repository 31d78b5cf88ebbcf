"""Builds one plan; see `jobs` for what it is told and answers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from compiler.engines.plans import files as plans
from compiler.engines.tensorrt import flavors
from compiler.engines.tensorrt.builder import monitor, network, settings, timing
from compiler.engines.tensorrt.builder.jobs import Done, PlanJob
from compiler.engines.tensorrt.builder.sources import Source
from compiler.engines.tensorrt.flavors import Flavor
from compiler.errors import EngineError, EngineUnavailableError
from compiler.progress import Report
from compiler.workers import serve

ERRORS_SHOWN = 4


def main() -> None:
    """Take jobs, and answer each with its plan."""
    serve(lambda question, report: build(msgspec.json.decode(question, type=PlanJob), report))


def build(job: PlanJob, report: Report) -> Done:
    """Read the model, compile it, and write the plan.

    Raises:
        EngineError: TensorRT refuses the model; the message names the node and its module in the checkpoint.
        StorageError: the plan cannot be written.
    """
    flavor = flavors.probe(job.flavor)
    if isinstance(flavor, str):
        raise EngineUnavailableError(f"{job.flavor} cannot be used", found=flavor)
    source = Source(Path(job.model), job.nodes)
    report("reading the model", 0, 0)
    parsed = network.parse(flavor, source)
    for each in job.profiles:
        network.check_network(parsed.network, each)
    config = settings.configure(flavor, parsed.builder, job.options, job.target, job.profiles)
    errors: list[monitor.Recorded] = []
    watch = monitor.native_monitor(
        flavor.module,
        monitor.Progress(report),
    )
    recorder = monitor.native_recorder(flavor.module, errors)
    config.progress_monitor, parsed.builder.error_recorder = watch, recorder
    with flavors.messages() as messages, timing.remembered(flavor, job.gpu, config):
        content = parsed.builder.build_serialized_network(parsed.network, config)
    if content is None:
        said = [error.text for error in errors] or [each.text for each in messages if each.severity != "WARNING"]
        raise _refused(flavor, job, source, said)
    plans.check_header(memoryview(content), flavor.name, job.title)
    inputs, outputs = network.signature(parsed.network, job.inputs, job.outputs)
    return Done(
        sha256=plans.write(memoryview(content), Path(job.file)),
        size=content.nbytes,
        flags=settings.set_flags(flavor.module, config),
        inputs=inputs,
        outputs=outputs,
        layers=network.layers(parsed.network, source, f"{flavor.name} {job.target}", job.graph),
    )


def _refused(flavor: Flavor, job: PlanJob, source: Source, said: Sequence[str]) -> EngineError:
    subject = f"{flavor.name} {flavor.version} cannot build {source.model.name} for {job.title}"
    real = list(dict.fromkeys(text.strip() for text in said if not flavors.NOISE.search(text)))[:ERRORS_SHOWN]
    node = next(filter(None, map(source.mentioned, real)), None)
    return EngineError(
        f"{subject}, at {node}" if node else subject,
        found=f"\n{' ' * 12}".join(real) or "TensorRT gave no reason",
        action="choose another precision, more workspace_bytes or smaller shapes, according to the reason",
    )


if __name__ == "__main__":
    main()
