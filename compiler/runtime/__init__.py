"""What an application embeds: open a bundle and use it, with numpy, tokenizers and the engine's own wheel."""

from compiler.runtime.model import Model, UnverifiedWarning, load

__all__ = ["Model", "UnverifiedWarning", "load"]
