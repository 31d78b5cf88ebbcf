"""A bundle's tokenizer and the tokens that have a meaning to the model."""

from __future__ import annotations

import copy
import json
import math
import sys
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import msgspec
from tokenizers import Encoding, Tokenizer, models

from compiler.bundle import Files
from compiler.errors import InputError, IntegrityError, UsageError
from compiler.generation import Settings, read, require_tokens
from compiler.reading import foreign, parse_json
from compiler.records import Manifest
from compiler.runtime.chat import ChatTemplate
from compiler.runtime.pairs import shortened

TOKENIZER = "tokenizer.json"
GENERATION = "generation_config.json"
TEMPLATE = "chat_template.jinja"
GROWTH = 1000  # times that a tokenizer may lengthen a text before it cuts it into tokens
SPECIAL = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")


class Text:
    """Text to tokens and back. Nothing changes after construction, so threads share it.

    Attributes:
        folder: the bundle.
        tokenizer: without padding; for an encoder it cuts where the checkpoint does, for a decoder never.
        bos: the token that begins a text, or None.
        ends: tokens that end an answer.
        pad: a token to fill rows with, where `pads` the one by which the model itself finds a text's end; the attention
            mask hides it.
        pads: the model's configuration names a padding token, and the model has it.
        chat: the chat templates, or None.
        config: config.json.
        declared: the settings of generation, of a bundle that generates.
        settings: tokenizer_config.json.
        special: the special tokens that these settings name, by name ("mask": "[MASK]"), and "" where one is missing.
        limit: tokens after which an encoder's text is cut.
        tidies: spaces before punctuation are taken out of what tokens spell.
        named: ids of the tokens that these settings call special; tokenizer.json may have more of them.
    """

    def __init__(self, files: Files, manifest: Manifest) -> None:
        self.folder = files.folder
        self.tokenizer = _tokenizer(files)
        model, generation, settings = (
            _read(files, f"{name}.json") for name in ("config", "generation_config", "tokenizer_config")
        )
        self.config, self.settings = model, settings
        # tokenizer.json does not say it, and copies of the tokenizer forget it.
        self._splits = settings.get("split_special_tokens") is True
        self.tokenizer.encode_special_tokens = self._splits
        self.declared = Settings()
        if manifest.cache:
            self.declared = read(generation, IntegrityError, str(files.folder / GENERATION))
            if rows := _rows(manifest):
                require_tokens(self.declared, rows, IntegrityError, str(files.folder / GENERATION))
        declared_length = manifest.pooling and manifest.pooling.max_length
        self.limit = min(manifest.context_length, declared_length or _length(settings) or manifest.context_length)
        if manifest.kind == "encoder":
            side = "left" if settings.get("truncation_side") == "left" else "right"
            self.tokenizer.enable_truncation(self.limit, direction=side)
        forced = settings.get("clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output") is True
        possible = forced or not isinstance(self.tokenizer.model, models.BPE)
        self.tidies: bool = settings.get("clean_up_tokenization_spaces") is True and possible
        self.special = special = {name: _content(settings.get(f"{name}_token")) for name in SPECIAL}
        ids = {name: self.tokenizer.token_to_id(token) for name, token in special.items() if token}
        every = (*special.values(), *_named(settings).values(), *_more(settings))
        self.named = frozenset(token for each in every if (token := self.tokenizer.token_to_id(each)) is not None)
        declared = [generation, model, {f"{name}_token_id": token for name, token in ids.items()}]
        self.bos: int | None = next(iter(_ids(declared, "bos_token_id")), None)
        own = _ids([_of_text(model)], "pad_token_id")
        rows = manifest.token_rows or sys.maxsize
        self.pads = bool(own) and 0 <= own[0] < rows
        # Only generation may have a padding token of its own; other graphs know that of config.json.
        filling = declared if manifest.cache else [_of_text(model), *declared[1:]]
        pad = next(iter(_ids(filling, "pad_token_id")), 0)
        self.pad: int = pad if 0 <= pad < rows else 0
        # transformers asks nobody else for the ends; a bundle without that file is older than this rule.
        ending = [generation] if manifest.cache and generation else declared
        self.ends: frozenset[int] = frozenset(_ids(ending, "eos_token_id"))
        templates = _chat_templates(files, settings)
        self.chat = ChatTemplate(templates, _named(settings) | special) if templates else None

    def encode(
        self, texts: Sequence[str | tuple[str, str]], *, special: bool = True, offsets: bool = False, cut: bool = True
    ) -> list[Encoding]:
        """Tokens of each text or pair; `special` adds what the tokenizer puts around every text.

        `offsets` also tells where in the text each token is, which takes longer; without `cut` nothing is cut off.

        Raises:
            InputError: a text is not valid Unicode.
        """
        tokenizer = self.tokenizer if cut else self.whole
        encode = tokenizer.encode_batch if offsets else tokenizer.encode_batch_fast
        try:
            with foreign(InputError, "the model's tokenizer fails at these texts"):
                asked = [self._shortened(text) if cut and not offsets else text for text in texts]
                return encode(asked, add_special_tokens=special)
        except InputError as error:
            if not isinstance(error.__cause__, TypeError):
                raise
            raise InputError(
                "a text is not valid Unicode", found="a lone surrogate", action="decode it again with errors='replace'"
            ) from error

    def _shortened(self, text: str | tuple[str, str]) -> str | tuple[str, str]:
        if not isinstance(text, tuple) or not (cutting := self.tokenizer.truncation):
            return text
        return shortened(self.whole, text, self.limit, left=cutting["direction"] == "left")

    @cached_property
    def whole(self) -> Tokenizer:
        """The tokenizer, never cutting."""
        whole = copy.deepcopy(self.tokenizer)
        whole.no_truncation()
        whole.encode_special_tokens = self._splits
        return whole


def _tokenizer(files: Files) -> Tokenizer:
    if TOKENIZER not in files:
        raise UsageError(
            f"{files.folder}: the bundle has no tokenizer", expected=TOKENIZER, action="use run() with tensors"
        )
    path = files.folder / TOKENIZER
    content = files.read(TOKENIZER)
    with foreign(IntegrityError, f"{path}: not a tokenizer"):
        tokenizer = Tokenizer.from_buffer(content)
        tokenizer.no_padding()
        tokenizer.no_truncation()
        growth = _growth(json.loads(tokenizer.normalizer.__getstate__())) if tokenizer.normalizer else 1
    if growth > GROWTH:
        raise IntegrityError(
            f"{path}: its normalizer makes texts too long",
            found=f"up to {growth} times as long",
            expected=f"at most {GROWTH} times",
        )
    return tokenizer


def _growth(normalizer: Any) -> int:
    """How many times as long a text can become by what a normalizer puts in place of other text, at most."""
    match normalizer:
        case {"type": "Sequence", "normalizers": [*parts]}:
            return math.prod(map(_growth, parts))
        case {"type": "Replace", "pattern": {"String": str(old)}, "content": str(new)}:
            return max(1, -(-len(new) // max(1, len(old))))
        case {"type": "Replace", "content": str(new)}:  # what a regular expression finds can be empty
            return 1 + len(new)
        case {"type": "Prepend", "prepend": str(new)}:
            return 1 + len(new)
    return 1


def _read(files: Files, name: str) -> dict[str, Any]:
    """A checkpoint's JSON object; {} when it has no such file."""
    if name not in files:
        return {}
    return parse_json(files.read(name), dict[str, Any], IntegrityError, str(files.folder / name))


def _ids(declared: Sequence[dict[str, Any]], key: str) -> tuple[int, ...]:
    """Token ids under `key` in the first file that declares any: a number or a list of them.

    Raises:
        IntegrityError: something else is declared.
    """
    for settings in declared:
        if (found := settings.get(key)) not in (None, []):
            tokens = found if isinstance(found, list) else [found]
            if not all(type(token) is int and abs(token) < 2**31 for token in tokens):
                raise IntegrityError(f'"{key}" names no token', found=repr(found)[:80], expected="a number, or a list")
            return tuple(tokens)
    return ()


def _rows(manifest: Manifest) -> int:
    """The number of tokens that have a logit, 0 where the bundle does not say."""
    sizes = [size for tensor in manifest.outputs if tensor.name == "logits" for size in tensor.shape[-1:]]
    return sizes[0] if sizes and isinstance(sizes[0], int) else 0


def _of_text(config: dict[str, Any]) -> dict[str, Any]:
    """The part of a configuration that is about the text model: all of it, or a part of that name."""
    part = config.get("text_config")
    return part if isinstance(part, dict) else config


def _length(settings: dict[str, Any]) -> int | None:
    """Tokens that the tokenizer was made for, or None where it declares no sensible number."""
    length = settings.get("model_max_length")
    return int(length) if isinstance(length, int | float) and 1 <= length < math.inf else None


def _content(token: Any) -> str:
    """A special token's text: a string, or an object with "content"."""
    content = token.get("content") if isinstance(token, dict) else token
    if content is not None and not isinstance(content, str):
        raise IntegrityError("a special token in tokenizer_config.json", found=repr(token)[:80], expected="a text")
    if content and not content.isprintable() and not _is_unicode(content):
        raise IntegrityError("a special token in tokenizer_config.json", found=repr(token)[:80], expected="Unicode")
    return content or ""


def _named(settings: dict[str, Any]) -> dict[str, str]:
    """Special tokens by name, those that a checkpoint has beside the usual ones too ("eot" for "eot_token")."""
    return {
        name.removesuffix("_token"): _content(token)
        for name, token in settings.items()
        if name.endswith("_token") and isinstance(token, str | dict)
    }


def _more(settings: dict[str, Any]) -> list[str]:
    """Special tokens that have no names, in the form of transformers 5 or of those before."""
    more = settings.get("extra_special_tokens") or settings.get("additional_special_tokens") or []
    return [_content(token) for token in (more.values() if isinstance(more, dict) else more)]


def _is_unicode(text: str) -> bool:
    """False where there is a lone surrogate in it."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _chat_templates(files: Files, settings: dict[str, Any]) -> str | dict[str, str]:
    """One template, or several by name; a file of its own comes before what the settings say."""
    folder = files.folder
    if TEMPLATE in files:
        try:
            return files.read(TEMPLATE).decode()
        except UnicodeDecodeError as error:
            raise IntegrityError(f"{folder / TEMPLATE}: not UTF-8", found=str(error)) from error
    match settings.get("chat_template"):
        case None:
            return ""
        case str(template):
            return template
        case [*templates]:
            try:
                return {each.name: each.template for each in msgspec.convert(templates, list[_Named])}
            except msgspec.ValidationError as error:
                raise IntegrityError(f"{folder}: the chat templates are malformed", found=str(error)) from error
        case strange:
            raise IntegrityError(f"{folder}: no chat template", found=repr(strange)[:80], expected="a text")


class _Named(msgspec.Struct):
    name: str
    template: str
