"""Quantization: passes that trade precision for speed and size, and what they choose scales by."""

# The table of all passes imports these modules, and they import its neighbours: whoever asks first, it loads first.
import compiler.optimize.passes  # noqa: F401
