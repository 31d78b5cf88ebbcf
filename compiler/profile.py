"""Profiles: what is done for one kind of hardware, as a TOML file.

A profile names the engine, what the machine must have, and for encoders and decoders a recipe: the lowering passes in
order, the precisions on offer (each a list of quantization passes), the default one, and the accuracy budget.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec

from compiler.errors import EngineUnavailableError, ProfileError, did_you_mean
from compiler.machine import detect
from compiler.records import Kind, Machine, Record

__all__ = [
    "PREFERENCE",
    "Budget",
    "PassChoice",
    "Problem",
    "Profile",
    "Recipe",
    "Requires",
    "auto",
    "detect",
    "find",
    "load",
    "missing",
    "names",
    "schema",
    "validate",
]

# The fastest first: `auto` takes the first that the machine satisfies.
PREFERENCE: tuple[str, ...] = (
    "cpu-x86-amx",
    "cpu-x86-avx512-vnni",
    "cpu-x86-avx2",
    "cpu-arm64-dotprod",
)

KINDS = ("encoder", "decoder", "encoder-decoder")

Count = Annotated[int, msgspec.Meta(ge=0)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]


class PassChoice(Record, frozen=True):
    """A pass and its options. In TOML a plain name, or a table: `{ name = "quantize-weights", bits = 4 }`."""

    name: str
    options: dict[str, Any] = msgspec.field(default_factory=dict)


class Budget(Record, frozen=True):
    """How far answers may leave PyTorch float32. A key that is not set is shown, but not judged.

    Attributes:
        noise_factor: float32 only: largest difference, in multiples of the reference's own rounding noise.
        max_perplexity_ratio: perplexity over the reference's.
        max_kl_divergence: mean KL divergence of the output distributions, in nats.
        min_top1_agreement: share of positions with the same most likely answer.
        min_greedy_agreement: share of greedily generated tokens equal to the reference's, each continued from its text.
        min_cosine: smallest cosine similarity between a text's vector and the reference's.
    """

    noise_factor: Annotated[float, msgspec.Meta(ge=1)] | None = None
    max_perplexity_ratio: Annotated[float, msgspec.Meta(ge=1)] | None = None
    max_kl_divergence: Annotated[float, msgspec.Meta(ge=0)] | None = None
    min_top1_agreement: Share | None = None
    min_greedy_agreement: Share | None = None
    min_cosine: Share | None = None


class Recipe(Record, frozen=True):
    """What is done to one kind of model. `precision` is the default key of `precisions`."""

    precision: str
    passes: tuple[PassChoice, ...]
    precisions: dict[str, tuple[PassChoice, ...]]
    budget: Budget


class Requires(Record, frozen=True):
    """What the machine must have: an architecture and CPU features in Linux's words."""

    architecture: str
    features: tuple[str, ...] = ()


class Profile(Record, frozen=True):
    """One hardware target. `threads` 0 means every physical core."""

    name: str
    description: str
    engine: str
    requires: Requires
    encoder: Recipe
    decoder: Recipe
    threads: Count = 0
    encoder_decoder: Recipe | None = msgspec.field(default=None, name="encoder-decoder")

    def recipe(self, kind: Kind) -> Recipe:
        """What is done to models of this kind. Raises ProfileError when the profile does not say."""
        recipes = {"encoder": self.encoder, "decoder": self.decoder, "encoder-decoder": self.encoder_decoder}
        if (recipe := recipes[kind]) is None:
            raise ProfileError(
                f"profile {self.name} has no recipe for encoder-decoders",
                expected="a table [encoder-decoder] with precision, passes, precisions and budget",
                action="add one; `compile profiles show cpu-x86-avx2` prints an example",
            )
        return recipe


class Problem(Record, frozen=True):
    """One mistake in a profile. `path` is where inside the file: `encoder.passes[2].block_size`."""

    file: str
    path: str
    message: str
    suggestion: str = ""

    @property
    def text(self) -> str:
        """Everything but the file."""
        described = f"{self.message}; {self.suggestion}" if self.suggestion else self.message
        return f"{self.path}: {described}" if self.path else described


def names() -> tuple[str, ...]:
    """The shipped profiles, sorted."""
    return tuple(sorted(path.stem for path in _folder().glob("*.toml")))


def load(name_or_path: str | Path) -> Profile:
    """Read a shipped profile by name, "auto", or any TOML file by path.

    Raises:
        ProfileError: no such profile, or mistakes in it; the message lists all of them.
        EngineUnavailableError: "auto", and this machine satisfies no shipped profile.
    """
    if name_or_path == "auto":
        return auto()
    path = find(name_or_path)
    if problems := validate(path):
        noun = "mistake" if len(problems) == 1 else "mistakes"
        raise ProfileError(
            f"{path}: {len(problems)} {noun} in this profile",
            found=f"\n{' ' * 12}".join(problem.text for problem in problems),
            action="correct them; `compile profiles schema` prints what a profile may hold",
        )
    return msgspec.convert(normalized(read(path)), Profile)


def missing(profile: Profile, machine: Machine) -> tuple[str, ...]:
    """What `machine` lacks of the profile's requirements; empty when it can run it."""
    if profile.requires.architecture != machine.architecture:
        return (profile.requires.architecture,)
    return tuple(feature for feature in profile.requires.features if feature not in machine.features)


def auto(machine: Machine | None = None) -> Profile:
    """The first profile of `PREFERENCE` that `machine` (default: this one) satisfies.

    Raises:
        EngineUnavailableError: it satisfies none.
    """
    here = machine or detect()
    profiles = [load(name) for name in PREFERENCE]
    for profile in profiles:
        if not missing(profile, here):
            return profile
    nearest = min(profiles, key=lambda profile: len(missing(profile, here)))
    raise EngineUnavailableError(
        f"no shipped profile fits this machine ({here.cpu}, {here.architecture})",
        found=f"{nearest.name}, the nearest, needs {', '.join(missing(nearest, here))}",
        expected=f"one of {', '.join(PREFERENCE)}",
        action="write a profile for it and pass its path; `compile profiles show NAME` prints one to start from",
    )


def validate(path: Path) -> list[Problem]:
    """All mistakes in a profile file at once; empty when `load` takes it.

    Names and options of passes are checked where the `build` extra is installed.
    """
    from compiler.validation import problems

    return problems(path)


def schema() -> dict[str, Any]:
    """JSON Schema of a profile file, for editors."""
    from compiler.validation import profile_schema

    return profile_schema()


def read(path: Path) -> dict[str, Any]:
    """The raw TOML. Raises OSError, UnicodeDecodeError, tomllib.TOMLDecodeError."""
    return tomllib.loads(path.read_text(encoding="utf-8"))


def normalized(data: Mapping[str, Any]) -> dict[str, Any]:
    """The profile with every pass written as name and options. Only for data without mistakes."""
    result = dict(data)
    for kind in [kind for kind in KINDS if kind in result]:
        recipe = dict(result[kind])
        recipe["passes"] = [_choice(entry) for entry in recipe["passes"]]
        recipe["precisions"] = {
            precision: [_choice(entry) for entry in entries] for precision, entries in recipe["precisions"].items()
        }
        result[kind] = recipe
    return result


def _choice(entry: str | Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(entry, str):
        return {"name": entry}
    return {"name": entry["name"], "options": {key: value for key, value in entry.items() if key != "name"}}


def _folder() -> Path:
    here = Path(__file__).parent
    shipped = here / "profiles"
    return shipped if shipped.is_dir() else here.parent / "profiles"


def find(name_or_path: str | Path) -> Path:
    if str(name_or_path) in names():
        return _folder() / f"{name_or_path}.toml"
    path = Path(name_or_path)
    if path.is_file():
        return path
    raise ProfileError(
        f'profile "{name_or_path}" is unknown',
        expected=f"auto, {', '.join(names())}, or the path of a TOML file",
        action=did_you_mean(str(name_or_path), ("auto", *names())) or "see `compile profiles list`",
    )
