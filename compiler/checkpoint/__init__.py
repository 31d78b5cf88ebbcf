"""What a user names (hub id, folder, GGUF file) -> a folder of safetensors that PyTorch can load.

`resolve` finds and vets the files, `load_model` and `load_tokenizer` open them. Nothing here runs code that came with
a checkpoint, and pickle weights are read only when the user says so.
"""

from compiler.checkpoint.load import load_model, load_tokenizer
from compiler.checkpoint.resolve import Checkpoint, resolve

__all__ = ["Checkpoint", "load_model", "load_tokenizer", "resolve"]
