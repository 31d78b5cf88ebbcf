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
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch", "onnxscript", "onnx_ir", "httpx")]
    noisy = [(logger, logger.level) for logger in loggers if logger.level != logging.ERROR]  # a change costs 0.3 ms
    if verbosity != logging.CRITICAL:
        library.set_verbosity(logging.CRITICAL)
    library.disable_progress_bar()
    bar = tqdm.std.tqdm.__init__  # some loaders use tqdm past transformers' switch
    tqdm.std.tqdm.__init__ = functools.partialmethod(bar, disable=True)
    for logger, _ in noisy:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        tqdm.std.tqdm.__init__ = bar
        if verbosity != logging.CRITICAL:
            library.set_verbosity(verbosity)
        if bars:
            library.enable_progress_bar()
        for logger, level in noisy:
            logger.setLevel(level)
