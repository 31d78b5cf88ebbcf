"""Runs commands of the `compiler` that is on the path, one JSON line each, in forks of a process with its libraries.

The libraries are its arguments. A line of standard input is `{"words": [...], "folder": ..., "stdout": ...,
"stderr": ...}`: the command, where it is run, and the files that take its output. A line of standard output is its
exit code. Nothing of `compiler` is imported before the fork, so each command starts as from a shell, but for the
seconds that importing PyTorch takes.
"""

import importlib
import json
import os
import sys


def command(words: list[str], folder: str, stdout: str, stderr: str) -> None:
    os.chdir(folder)
    for number, path in ((1, stdout), (2, stderr)):
        os.dup2(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC), number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.argv = ["compile", *words]
    from compiler.cli import main

    main()


if __name__ == "__main__":
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # as compiler does before it imports onnxruntime
    for name in sys.argv[1:]:
        importlib.import_module(name)
    for line in sys.stdin:
        if (child := os.fork()) == 0:
            command(**json.loads(line))
            sys.exit()
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)
