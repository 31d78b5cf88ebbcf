"""Writing to disk so that others see a file or a folder whole or not at all, also after a kill or a power failure."""

from compiler.storage.files import digest, write_result, write_whole
from compiler.storage.folders import discard, recover, staging
from compiler.storage.locks import locked

__all__ = ["digest", "discard", "locked", "recover", "staging", "write_result", "write_whole"]
