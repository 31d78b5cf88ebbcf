"""Starts a module at addresses that are not random, where the system allows it; it imports nothing of ours.

TensorRT for RTX orders the outputs of a decoder by where they lie in memory, so plans would differ in their bytes.
"""

from __future__ import annotations

import ctypes
import os
import sys

ASK, ADDR_NO_RANDOMIZE = 0xFFFFFFFF, 0x0040000  # personality(2)


def main() -> None:
    """Become the program whose module is named."""
    if sys.platform == "linux":
        personality = ctypes.CDLL(None).personality
        if (now := personality(ASK)) != -1:
            personality(now | ADDR_NO_RANDOMIZE)
    os.execv(sys.executable, [sys.executable, "-P", "-m", sys.argv[1]])


if __name__ == "__main__":
    main()
