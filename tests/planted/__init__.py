"""Faults planted into tiny models that are right otherwise, for every kind of model.

Whatever lowering, export, quantization or the engine's own code could get wrong, once each. The check has to find all
whose effect, measured on other inputs than its own, is above the error that the right engine has: `trial`.
"""

from __future__ import annotations

from tests.planted.decoder import DECODER
from tests.planted.encoder import ENCODER
from tests.planted.encoder_decoder import ENCODER_DECODER
from tests.planted.fault import Fault
from tests.planted.quantized import QUANTIZED

FAULTS: tuple[Fault, ...] = (*ENCODER, *DECODER, *ENCODER_DECODER, *QUANTIZED)
NOTHING = Fault("", "nothing")
