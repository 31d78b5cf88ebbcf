"""What may come out of a pickle: tensors by name. No code of it is run (`weights_only`)."""

from __future__ import annotations

import pickle
import pickletools
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from compiler.errors import CheckpointError
from compiler.reading import foreign

if TYPE_CHECKING:
    import torch

ZIP = b"PK\x03\x04"
PICKLES = 5  # one after the other, where it is no archive: a mark, two versions, the tensors, the keys of their numbers
LONGEST = 500  # characters of the name of a class or function
MOST = 16  # times a file's size, for all of its tensors


def tensors(path: Path) -> dict[str, torch.Tensor]:
    """The tensors that a pickle holds.

    Raises:
        CheckpointError: it is damaged, or holds anything but plain tensors by name.
    """
    import torch

    try:
        _vet(path)
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except CheckpointError:
        raise
    except Exception as error:  # unpickling raises whatever the file holds
        raise CheckpointError(
            f"{path}: the pickle cannot be loaded",
            found=(str(error).strip() or type(error).__name__).splitlines()[0][:300],
            expected="tensors by name, and nothing else",
        ) from error
    found = content if isinstance(content, dict) else {}
    if not isinstance(content, dict) or not all(isinstance(name, str) and _plain(found[name]) for name in found):
        raise CheckpointError(
            f"{path}: not the weights of a model",
            found=", ".join(map(str, list(found)[:4]))[:300] or type(content).__name__,
            expected="a state dict: tensors by name, and nothing else",
            action="save the model with save_pretrained",
        )
    taken, size = sum(each.nbytes for each in found.values()), path.stat().st_size
    if taken > MOST * size:
        raise CheckpointError(
            f"{path}: the tensors are larger than the file",
            found=f"{taken} bytes in {size}",
            expected=f"at most {MOST} times as many, for tensors that share their memory",
            action="save the model with save_pretrained",
        )
    return found


def _vet(path: Path) -> None:
    """Refuse what torch.save does not write, and PyTorch takes hours or all memory to refuse."""
    with path.open("rb") as file:
        begin = file.read(4)
        file.seek(0)
        if begin == ZIP:
            with zipfile.ZipFile(file) as archive:
                for entry in archive.infolist():
                    if entry.compress_type != zipfile.ZIP_STORED:
                        raise _not_saved(path, f"{entry.filename[:80]!r}, compressed")
                    if entry.filename.endswith(".pkl"):
                        with archive.open(entry) as member:
                            _vet_names(member, path)
        elif begin[:1] == pickle.PROTO:
            for _ in range(PICKLES):
                _vet_names(file, path)
        else:
            raise _not_saved(path, f"it starts with {begin!r}")


def _vet_names(file: IO[bytes], path: Path) -> None:
    """Of one pickle. Names that are too long take PyTorch their length squared to write an error about."""
    with suppress(ValueError, EOFError):  # what is damaged is PyTorch's to say
        for opcode, argument, _ in pickletools.genops(file):
            if opcode.name == "GLOBAL" and len(str(argument)) > LONGEST:
                raise _not_saved(path, f"it names {str(argument)[:80]!r}...")


def _not_saved(path: Path, found: str) -> CheckpointError:
    return CheckpointError(f"{path}: not a pickle that torch.save wrote", found=found, expected="tensors by name")


def write(found: dict[str, torch.Tensor], path: Path) -> None:
    """Write tensors as safetensors. Raises CheckpointError: that format has no such tensors, or no such names."""
    from safetensors.torch import save_file

    with foreign(CheckpointError, f"{path.name}: the tensors of a pickle cannot be written", but=(OSError,)):
        # Tied tensors share their memory, which safetensors refuses.
        save_file({name: each.clone().contiguous() for name, each in found.items()}, path, metadata={"format": "pt"})


def _plain(value: Any) -> bool:
    """Whether it is a tensor whose numbers are all there: not sparse, not quantized, not one number many times."""
    import torch

    if not isinstance(value, torch.Tensor) or value.layout is not torch.strided:
        return False
    if value.device.type != "cpu" or value.is_quantized or value.is_nested:
        return False
    return value.nbytes <= value.untyped_storage().nbytes()
