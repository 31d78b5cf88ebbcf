"""What sentence-transformers wrote beside a model: its list of modules, their settings and weights.

Everything in these files is accounted for: used, known to change no answer, or refused by name.
"""

from compiler.checkpoint.sentence.encoder import check_width, pooling, write_weights
from compiler.checkpoint.sentence.listing import LIST, copy_folders, task_of
from compiler.checkpoint.sentence.pickles import unpickled
from compiler.checkpoint.sentence.ranker import activation
from compiler.checkpoint.sentence.settings import fit_tokenizer

__all__ = [
    "LIST",
    "activation",
    "check_width",
    "copy_folders",
    "fit_tokenizer",
    "pooling",
    "task_of",
    "unpickled",
    "write_weights",
]
