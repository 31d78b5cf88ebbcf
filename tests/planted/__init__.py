"""Faults planted into tiny models that are right otherwise, for every kind of model.

Whatever lowering, export, quantization or the engine's own code could get wrong, once each. The check has to find all
whose effect, measured on other inputs than its own, is above the model's own noise: `trial`.
"""
