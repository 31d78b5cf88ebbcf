"""Quantization: passes that trade precision for speed and size, and what they choose scales by."""
