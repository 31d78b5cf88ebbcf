"""Builds one plan; see `orders` for what it is told and answers."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from compiler.engines.plans import files as plans
from compiler.engines.tensorrt import flavors
from compiler.engines.tensorrt.builder import monitor, network, settings, timing
from compiler.engines.tensorrt.builder.orders import Answer, Done, Order, Step, failed
from compiler.engines.tensorrt.builder.sources import Source
from compiler.engines.tensorrt.flavors import Flavor
from compiler.errors import CompilerError, EngineError, EngineUnavailableError

ERRORS_SHOWN = 4

Tell = Callable[[Answer], None]


def main() -> None:
    """Take one order and answer it."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what libraries print is not an answer

    def tell(answer: Answer) -> None:
        answers.write(msgspec.json.encode(answer) + b"\n")
        answers.flush()

    order = msgspec.json.decode(sys.stdin.buffer.readline(), type=Order)
    try:
        tell(build(order, tell))
    except CompilerError as error:
        tell(failed(error))


def build(order: Order, tell: Tell) -> Done:
    """Read the model, compile it, and write the plan.

    Raises:
        EngineError: TensorRT refuses the model; the message names the node and its module in the checkpoint.
        StorageError: the plan cannot be written.
    """
    flavor = flavors.probe(order.flavor)
    if isinstance(flavor, str):
        raise EngineUnavailableError(f"{order.flavor} cannot be used", found=flavor)
    source = Source(Path(order.model), order.nodes)
    tell(Step(message="reading the model", done=0, total=0))
    parsed = network.parse(flavor, source)
    for each in order.profiles:
        network.check_network(parsed.network, each)
    config = settings.configure(flavor, parsed.builder, order.options, order.target, order.profiles)
    errors: list[monitor.Recorded] = []
    watch = monitor.native_monitor(
        flavor.module,
        monitor.Progress(lambda message, done, total: tell(Step(message=message, done=done, total=total))),
    )
    recorder = monitor.native_recorder(flavor.module, errors)
    config.progress_monitor, parsed.builder.error_recorder = watch, recorder
    with flavors.messages() as messages, timing.remembered(flavor, order.gpu, config):
        content = parsed.builder.build_serialized_network(parsed.network, config)
    if content is None:
        said = [error.text for error in errors] or [each.text for each in messages if each.severity != "WARNING"]
        raise _refused(flavor, order, source, said)
    plans.check_header(memoryview(content), flavor.name, order.title)
    inputs, outputs = network.signature(parsed.network, order.inputs, order.outputs)
    return Done(
        sha256=plans.write(memoryview(content), Path(order.file)),
        size=content.nbytes,
        flags=settings.set_flags(flavor.module, config),
        inputs=inputs,
        outputs=outputs,
        layers=network.layers(parsed.network, source, f"{flavor.name} {order.target}", order.graph),
    )


def _refused(flavor: Flavor, order: Order, source: Source, said: Sequence[str]) -> EngineError:
    subject = f"{flavor.name} {flavor.version} cannot build {source.model.name} for {order.title}"
    real = list(dict.fromkeys(text.strip() for text in said if not flavors.NOISE.search(text)))[:ERRORS_SHOWN]
    node = next(filter(None, map(source.mentioned, real)), None)
    return EngineError(
        f"{subject}, at {node}" if node else subject,
        found=f"\n{' ' * 12}".join(real) or "TensorRT gave no reason",
        action="choose another precision, more workspace_bytes or smaller shapes, according to the reason",
    )


if __name__ == "__main__":
    main()
