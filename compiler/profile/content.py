"""What a profile holds."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Literal

import msgspec

from compiler.errors import ProfileError, UsageError, did_you_mean
from compiler.records import Budget, Kind, Lowering, PassChoice, PlanOptions, Record, Requires, Shapes
from compiler.records.lowering import Capability

KINDS: tuple[Kind, ...] = ("encoder", "decoder", "encoder-decoder")

# Number formats that matrices can be multiplied in, or that weights can be kept in; `Pass.formats` uses the same words.
Format = Literal["float32", "float16", "bfloat16", "int8", "float8", "int4", "float4"]

Count = Annotated[int, msgspec.Meta(ge=0)]
Positive = Annotated[float, msgspec.Meta(gt=0)]


class Recipe(Record, frozen=True):
    """What is done to one kind of model. `precision` is the default key of `precisions`.

    `budgets` are those of single precisions, in place of `budget`. `shapes` are the buckets of shapes that plans are
    built for; only engines that build plans take them.
    """

    precision: str
    passes: tuple[PassChoice, ...]
    precisions: dict[str, tuple[PassChoice, ...]]
    budget: Budget
    budgets: dict[str, Budget] = msgspec.field(default_factory=dict)
    shapes: tuple[Shapes, ...] = ()

    def budget_of(self, precision: str | None) -> Budget:
        """The budget of a precision; None is the default one."""
        return self.budgets.get(precision or self.precision, self.budget)


class Device(Record, frozen=True):
    """The GPU a profile is for: the facts that decide what fits on it and how fast it can be at best.

    Attributes:
        name: its maker's name.
        gpu_names: how drivers name it; `auto` prefers the profile that names the GPU it finds.
        compute_capability: as in "8.9".
        memory_gb: GB (10^9 bytes).
        bandwidth_gb_s: of that memory, GB/s.
        precisions: number formats that it can use.
        source: the documents that the facts are from.
    """

    name: str
    gpu_names: tuple[str, ...]
    compute_capability: Capability
    memory_gb: Positive
    bandwidth_gb_s: Positive
    precisions: tuple[Format, ...]
    source: tuple[str, ...]


class Profile(Record, frozen=True):
    """One hardware target.

    `threads` 0 means every physical core. `cuda_graph` records calls of equal shapes on a GPU once and replays them.
    `rank` is its place among the shipped ones: `auto` takes the first that fits; 0 is never taken by itself.
    """

    name: str
    description: str
    engine: str
    requires: Requires
    encoder: Recipe
    decoder: Recipe
    rank: Count = 0
    threads: Count = 0
    cuda_graph: bool = False
    encoder_decoder: Recipe | None = msgspec.field(default=None, name="encoder-decoder")
    device: Device | None = None
    plans: PlanOptions | None = None

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

    def chosen(self, kinds: Collection[Kind], precision: str | None) -> str:
        """The precision by its name, for models of one of these kinds; None is the recipe's own.

        Raises:
            ProfileError: the profile has no recipe for the one kind there is.
            UsageError: no recipe offers the precision.
        """
        every = {"encoder": self.encoder, "decoder": self.decoder, "encoder-decoder": self.encoder_decoder}
        recipes = [self.recipe(*kinds)] if len(kinds) == 1 else [each for kind in kinds if (each := every[kind])]
        offered = dict.fromkeys(name for recipe in recipes for name in recipe.precisions)
        found = recipes[0].precision if precision is None else precision
        if found not in offered:
            of = f" for {next(iter(kinds))}s" if len(kinds) == 1 else ""
            raise UsageError(
                f'precision "{found}" is not in profile {self.name}{of}',
                expected=", ".join(offered),
                action=did_you_mean(found, offered) or "choose one of these, or add it to a profile of your own",
            )
        return found

    def lowering(self, kind: Kind, precision: str | None) -> Lowering:
        """What is done to a model of this kind; None is the recipe's own precision. Raises as `chosen`."""
        chosen, recipe = self.chosen([kind], precision), self.recipe(kind)
        passes = (*recipe.passes, *recipe.precisions[chosen])
        return Lowering(profile=self.name, kind=kind, precision=chosen, passes=passes, requires=self.requires)
