"""Profiles: what is done for one kind of hardware, as a TOML file.

A profile names the engine, what the machine must have, and for encoders and decoders a recipe: the lowering passes in
order, the precisions on offer (each a list of quantization passes), the default one, and the accuracy budget. A
profile for one GPU also states that GPU's facts, and the shapes that plans are built for.
"""

from compiler.machine import detect
from compiler.profile.choosing import auto, engine_options, load, missing, ranked, schema, target_of, usable, validate
from compiler.profile.content import KINDS, Device, Profile, Recipe
from compiler.profile.files import Problem, find, names, normalized, read, recipes, text, whole

__all__ = [
    "KINDS",
    "Device",
    "Problem",
    "Profile",
    "Recipe",
    "auto",
    "detect",
    "engine_options",
    "find",
    "load",
    "missing",
    "names",
    "normalized",
    "ranked",
    "read",
    "recipes",
    "schema",
    "target_of",
    "text",
    "usable",
    "validate",
    "whole",
]
