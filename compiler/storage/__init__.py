"""Writing to disk so that others see a file or a folder whole or not at all, also after a kill or a power failure."""

from compiler.storage.files import digest, write_result, write_whole
from compiler.storage.folders import discard, recover, require_place, require_writable, staging
from compiler.storage.locks import locked
from compiler.storage.places import advice, cache_folder, require_cache, told, trouble

__all__ = [
    "advice",
    "cache_folder",
    "digest",
    "discard",
    "locked",
    "recover",
    "require_cache",
    "require_place",
    "require_writable",
    "staging",
    "told",
    "trouble",
    "write_result",
    "write_whole",
]
