"""Passes: one small file each. A pass is a frozen dataclass whose fields are its options.

`PASSES` is the table that profiles name them by.
"""

from __future__ import annotations

from compiler.optimize.passes.base import Context, Feeds, Pass
from compiler.optimize.passes.fold_constants import FoldConstants
from compiler.optimize.passes.fuse_attention import FuseAttention
from compiler.optimize.passes.fuse_gelu import FuseGelu
from compiler.optimize.passes.fuse_group_query_attention import FuseGroupQueryAttention
from compiler.optimize.passes.fuse_silu import FuseSilu
from compiler.optimize.passes.fuse_skip_norm import FuseSkipNorm
from compiler.optimize.passes.fuse_transpose import FuseTranspose
from compiler.optimize.passes.last_token_logits import LastTokenLogits
from compiler.optimize.passes.mixed_precision import MixedPrecision
from compiler.optimize.passes.pack_projections import PackProjections
from compiler.optimize.passes.scatter_cache import ScatterCache
from compiler.optimize.passes.split_softcap import SplitSoftcap
from compiler.optimize.quantize.dynamic import QuantizeDynamic
from compiler.optimize.quantize.per_token import QuantizePerToken
from compiler.optimize.quantize.static import QuantizeStatic
from compiler.optimize.quantize.weights import QuantizeWeights
from compiler.optimize.quantize.weights_dq import QuantizeWeightsDq

__all__ = ["PASSES", "Context", "Feeds", "Pass"]

PASSES: dict[str, type[Pass]] = {
    "fold-constants": FoldConstants,
    "fuse-attention": FuseAttention,
    "fuse-group-query-attention": FuseGroupQueryAttention,
    "pack-projections": PackProjections,
    "fuse-skip-norm": FuseSkipNorm,
    "fuse-gelu": FuseGelu,
    "fuse-silu": FuseSilu,
    "fuse-transpose": FuseTranspose,
    "last-token-logits": LastTokenLogits,
    "scatter-cache": ScatterCache,
    "split-softcap": SplitSoftcap,
    "quantize-dynamic": QuantizeDynamic,
    "quantize-per-token": QuantizePerToken,
    "quantize-static": QuantizeStatic,
    "quantize-weights": QuantizeWeights,
    "quantize-weights-dq": QuantizeWeightsDq,
    "mixed-precision": MixedPrecision,
}
