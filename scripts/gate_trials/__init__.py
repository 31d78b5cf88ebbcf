"""Trials of the latency gate of `compile compare` on this machine."""
