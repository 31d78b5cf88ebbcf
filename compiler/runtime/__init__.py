"""What an application embeds: open a bundle and use it, with numpy, tokenizers and the engine's own wheel."""

from compiler.runtime.conversation import Conversation
from compiler.runtime.elsewhere import ElsewhereWarning
from compiler.runtime.generation import Generated
from compiler.runtime.model import Model, UnverifiedWarning, load
from compiler.runtime.older import OlderBundleWarning
from compiler.runtime.verdict import VerdictWarning

__all__ = [
    "Conversation",
    "ElsewhereWarning",
    "Generated",
    "Model",
    "OlderBundleWarning",
    "UnverifiedWarning",
    "VerdictWarning",
    "load",
]
