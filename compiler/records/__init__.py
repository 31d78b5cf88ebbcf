"""The frozen records that stages read and write.

A compilation is a chain of these on disk: every stage reads the record before it and writes its own, as JSON, next
to the files it made. `load` and `save` are the only way in and out; a field that is unknown or of the wrong type is
an error that names its path. `schema` gives the JSON Schema of any record.
"""

from compiler.records.base import (
    SCHEMA_VERSION,
    Record,
    encode,
    load,
    parse,
    save,
    schema,
)
from compiler.records.engine import (
    Built,
    EngineOptions,
    Placement,
    Plan,
    PlanOptions,
    Range,
    Serving,
    Shapes,
)
from compiler.records.evaluation import Evaluated, Metric, System
from compiler.records.lowering import Budget, Lowering, PassChoice, Requires
from compiler.records.model import (
    Adapter,
    CacheShape,
    Exported,
    Graph,
    Kind,
    Optimized,
    PassRun,
    Source,
    Tensor,
    graph_files,
)
from compiler.records.pooling import (
    Activation,
    Dense,
    LayerNorm,
    Messages,
    Module,
    Normalize,
    Pooling,
    PoolingMode,
    Truncate,
)
from compiler.records.proof import (
    Checked,
    Finding,
    Gpu,
    Machine,
    Measured,
    NoiseSource,
    Runner,
    Series,
    Unsteady,
)
from compiler.records.sealed import (
    Certificate,
    FileEntry,
    Manifest,
)

__all__ = [
    "SCHEMA_VERSION",
    "Activation",
    "Adapter",
    "Budget",
    "Built",
    "CacheShape",
    "Certificate",
    "Checked",
    "Dense",
    "EngineOptions",
    "Evaluated",
    "Exported",
    "FileEntry",
    "Finding",
    "Gpu",
    "Graph",
    "Kind",
    "LayerNorm",
    "Lowering",
    "Machine",
    "Manifest",
    "Measured",
    "Messages",
    "Metric",
    "Module",
    "NoiseSource",
    "Normalize",
    "Optimized",
    "PassChoice",
    "PassRun",
    "Placement",
    "Plan",
    "PlanOptions",
    "Pooling",
    "PoolingMode",
    "Range",
    "Record",
    "Requires",
    "Runner",
    "Series",
    "Serving",
    "Shapes",
    "Source",
    "System",
    "Tensor",
    "Truncate",
    "Unsteady",
    "encode",
    "graph_files",
    "load",
    "parse",
    "save",
    "schema",
]
