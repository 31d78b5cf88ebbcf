"""The peers, each in an environment of its own under artifacts/peers: what to install, and how it is tried."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.process import OWN_PYTHON, ROOT, ProcessError, run, worker

FOLDER = ROOT / "artifacts" / "peers"
OFFLINE = {**os.environ, "HF_HUB_OFFLINE": "1"}
TRIED = "tried"


@dataclass(frozen=True)
class Peer:
    """`packages` are pinned: a figure is only as good as the version it names.

    `attempt` runs once on tiny models (a folder of them) what a measurement runs, so that an environment which lacks
    something is found at once.
    """

    name: str
    packages: tuple[str, ...]
    attempt: Callable[[Path], object]

    @property
    def folder(self) -> Path:
        return FOLDER / self.name

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    @property
    def installed(self) -> bool:
        """Whether the environment has these packages, and was tried."""
        stamp = self.folder / "installed"
        return stamp.is_file() and stamp.read_text(encoding="utf-8").split() == [*self.packages, TRIED]

    def install(self, tokenizer: Path) -> None:
        """Make the environment and try it, unless that was done.

        Args:
            tokenizer: a folder with one, for the tiny models.

        Raises:
            ProcessError: it cannot be made, or does not do its work.
        """
        if self.installed:
            return
        print(f"Installing {', '.join(self.packages)}", file=sys.stderr)
        run(f"venv of {self.name}", [str(OWN_PYTHON), "-m", "venv", str(self.folder)])
        run(f"pip install for {self.name}", [str(self.python), "-m", "pip", "install", "-qq", *self.packages])
        with tempfile.TemporaryDirectory() as scratch:
            worker("tiny_models", env=OFFLINE, tokenizer=str(tokenizer), out=scratch)
            self.attempt(Path(scratch))
        (self.folder / "installed").write_text("\n".join([*self.packages, TRIED]), encoding="utf-8")


def genai_int4(checkpoint: Path) -> Path:
    """A folder's weights as onnxruntime-genai's own builder makes int4 of them for the CPU, at its fastest setting."""
    out = GENAI.folder / "models" / checkpoint.name
    if not out.is_dir():
        partial = out.with_name(f"{out.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        command = [
            str(GENAI.python),
            "-m",
            "onnxruntime_genai.models.builder",
            "-i",
            str(checkpoint),
            "-o",
            str(partial),
        ]
        command += ["-p", "int4", "-e", "cpu", "--extra_options", "int4_accuracy_level=4"]
        run("the builder of onnxruntime-genai", command, env=OFFLINE)
        partial.rename(out)
    return out


def _try_genai(models: Path) -> None:
    made = genai_int4(models / "llama")
    try:
        worker("genai_decoder", python=GENAI.python, model=str(made), prompt=[5, 6, 7, 8], new_tokens=2, runs=1)
    finally:
        shutil.rmtree(made)


def _try_sentence_transformers(models: Path) -> None:
    sentences = models / "sentences.json"
    sentences.write_text(json.dumps(["A text.", "Another one."]), encoding="utf-8")
    worker(
        "sentence_transformers_embed",
        python=SENTENCE_TRANSFORMERS.python,
        env=OFFLINE,
        model=str(models / "bert"),
        sentences=str(sentences),
        runs=1,
    )


def _try_openvino(models: Path) -> None:
    onnx = models / "bert.onnx"
    worker("torch_onnx_export", model=str(models / "bert"), auto_class="AutoModel", out=str(onnx))
    worker("openvino_encoder", python=OPENVINO.python, model=str(onnx), shapes=[[1, 8]], seconds=0)


GENAI = Peer(
    "genai",
    (
        "onnxruntime-genai==0.18.0",
        "onnxruntime==1.32.0",
        "onnx==1.23.2",
        "onnx-ir==1.1.0",  # its builder imports it, and does not ask pip for it
        "torch==2.13.0",
        "transformers==5.23.0",
    ),
    _try_genai,
)
SENTENCE_TRANSFORMERS = Peer(
    "sentence-transformers",
    ("sentence-transformers==6.2.0", "torch==2.13.0", "transformers==5.23.0"),
    _try_sentence_transformers,
)
OPENVINO = Peer("openvino", ("openvino==2026.4.1", "nncf==3.4.0", "numpy==2.4.6"), _try_openvino)

# The part of the figures that each is for.
PEERS = {"decode": (GENAI,), "encode": (OPENVINO, SENTENCE_TRANSFORMERS)}

_broken: dict[str, ProcessError] = {}


def install(parts: tuple[str, ...], tokenizer: Path) -> None:
    """Install the peers of these parts. One that fails is shown, and fails again in `require`."""
    for peer in (peer for part in parts for peer in PEERS.get(part, ())):
        try:
            peer.install(tokenizer)
        except ProcessError as error:
            print(f"{peer.name} cannot be measured. {error}", file=sys.stderr)
            _broken[peer.name] = error


def wanted(peer: Peer) -> bool:
    """Whether its rows belong in the table: it is there, or was to be installed."""
    return peer.installed or peer.name in _broken


def require(peer: Peer) -> Path:
    """Its interpreter. Raises ProcessError where its installation failed."""
    if peer.name in _broken:
        raise _broken[peer.name]
    return peer.python
