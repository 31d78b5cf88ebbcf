"""Keep other libraries' progress bars and advice off a user's terminal."""

from __future__ import annotations

import functools
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet() -> Iterator[None]:
    """Silence transformers' and torch.onnx's logging, bars and warnings within the block."""
    import tqdm
    import transformers

    library = transformers.utils.logging
    verbosity, bars = library.get_verbosity(), library.is_progress_bar_enabled()
    noisy = [logging.getLogger(name) for name in ("torch.onnx", "torch", "onnxscript", "onnx_ir", "httpx")]
    levels = [logger.level for logger in noisy]
    library.set_verbosity(logging.CRITICAL)
    library.disable_progress_bar()
    bar = tqdm.std.tqdm.__init__  # some loaders use tqdm past transformers' switch
    tqdm.std.tqdm.__init__ = functools.partialmethod(bar, disable=True)
    for logger in noisy:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        tqdm.std.tqdm.__init__ = bar
        library.set_verbosity(verbosity)
        if bars:
            library.enable_progress_bar()
        for logger, level in zip(noisy, levels, strict=True):
            logger.setLevel(level)
