"""Progress and errors, without a build."""

from __future__ import annotations

import threading

from compiler.engines.tensorrt.builder.monitor import Progress, Recorded, native_monitor, native_recorder
from compiler.engines.tensorrt.flavors import flavor_for


def test_the_outermost_phase_with_steps_is_told() -> None:
    told: list[tuple[str, int, int]] = []
    monitor = native_monitor(flavor_for("sm89").module, Progress(lambda *event: told.append(event)))
    monitor.phase_start("whole", None, 1)
    monitor.phase_start("tactics", "whole", 2)
    monitor.phase_start("one kernel", "tactics", 9)
    assert monitor.step_complete("one kernel", 0)
    monitor.phase_finish("one kernel")
    assert monitor.step_complete("tactics", 0)
    assert monitor.step_complete("tactics", 1)
    monitor.phase_finish("tactics")
    assert monitor.step_complete("whole", 0)
    monitor.phase_finish("whole")
    assert told == [
        ("whole", 0, 1),
        ("tactics", 0, 2),
        ("tactics", 1, 2),
        ("tactics", 2, 2),
        ("whole", 1, 1),
    ]


def test_many_threads_may_tell() -> None:
    told: list[int] = []
    progress = Progress(lambda _message, done, _total: told.append(done))
    progress.start("tactics", None, 800)

    def work(first: int) -> None:
        for step in range(first, 800, 8):
            progress.step("tactics", step)

    threads = [threading.Thread(target=work, args=(first,)) for first in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(told) == list(range(801))


def test_errors_are_recorded_as_tensorrt_gives_them() -> None:
    trt = flavor_for("sm89").module
    errors: list[Recorded] = []
    recorder = native_recorder(trt, errors)
    assert recorder.report_error("a code", "a text") is False
    assert (recorder.num_errors(), recorder.get_error_code(0), recorder.get_error_desc(0)) == (1, "a code", "a text")
    assert recorder.has_overflowed() is False
    recorder.clear()
    assert errors == []
