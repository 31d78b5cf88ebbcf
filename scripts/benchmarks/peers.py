"""The peers, each in an environment of its own under artifacts/peers: what to install, and their converted models."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.process import ROOT

FOLDER = ROOT / "artifacts" / "peers"


@dataclass(frozen=True)
class Peer:
    """`packages` are pinned: a figure is only as good as the version it names."""

    name: str
    packages: tuple[str, ...]

    @property
    def python(self) -> Path:
        return FOLDER / self.name / "bin" / "python"

    @property
    def installed(self) -> bool:
        return (FOLDER / self.name / "installed").is_file()

    def install(self) -> None:
        """Make the environment unless it is complete already."""
        if self.installed:
            return
        print(f"Installing {', '.join(self.packages)}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", str(FOLDER / self.name)], check=True)
        subprocess.run([str(self.python), "-m", "pip", "install", "-qq", *self.packages], check=True)
        (FOLDER / self.name / "installed").write_text("\n".join(self.packages))


GENAI = Peer(
    "genai",
    ("onnxruntime-genai==0.18.0", "onnxruntime==1.32.0", "onnx==1.23.2", "torch==2.13.0", "transformers==5.23.0"),
)
SENTENCE_TRANSFORMERS = Peer(
    "sentence-transformers", ("sentence-transformers==6.2.0", "torch==2.13.0", "transformers==5.23.0")
)
OPENVINO = Peer("openvino", ("openvino==2026.4.1", "nncf==3.4.0", "numpy==2.4.6"))
PEERS = (GENAI, SENTENCE_TRANSFORMERS, OPENVINO)


def genai_int4(checkpoint: Path) -> Path:
    """A folder's weights as onnxruntime-genai's own builder makes int4 of them for the CPU, at its fastest setting."""
    out = FOLDER / f"{checkpoint.name}-int4"
    if not (out / "genai_config.json").is_file():
        command = [str(GENAI.python), "-m", "onnxruntime_genai.models.builder", "-i", str(checkpoint), "-o", str(out)]
        command += ["-p", "int4", "-e", "cpu", "--extra_options", "int4_accuracy_level=4"]
        environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
        subprocess.run(command, check=True, capture_output=True, env=environment)
    return out
