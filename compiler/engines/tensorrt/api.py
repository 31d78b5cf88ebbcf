"""The part of TensorRT's module that this package uses, for the type checker: one type for all its flavors."""

from __future__ import annotations

from typing import Any, Protocol

from compiler.engines.tensorrt import objects


class TensorRT(Protocol):
    """`tensorrt` or `tensorrt_rtx`.

    What we derive from (`ILogger`, `IErrorRecorder`, ...) has no type: a class cannot derive from a
    Protocol's attribute.
    """

    ILogger: type[Any]
    IErrorRecorder: type[Any]
    IProgressMonitor: type[Any]
    IOutputAllocator: type[Any]

    NetworkDefinitionCreationFlag: type[objects.NetworkDefinitionCreationFlag]
    BuilderFlag: type[objects.BuilderFlag]
    MemoryPoolType: type[objects.MemoryPoolType]
    HardwareCompatibilityLevel: type[objects.Enumeration]
    ProfilingVerbosity: type[objects.ProfilingVerbosity]
    LayerType: type[objects.LayerType]
    TensorLocation: type[objects.TensorLocation]
    ExecutionContextAllocationStrategy: type[objects.ExecutionContextAllocationStrategy]

    Builder: type[objects.Builder]
    OnnxParser: type[objects.OnnxParser]
    IAttentionInputLayer: type[objects.IAttentionInputLayer]
    Runtime: type[objects.Runtime]
    Refitter: type[objects.Refitter]
    OnnxParserRefitter: type[objects.OnnxParserRefitter]


class RtxTensorRT(TensorRT, Protocol):
    """`tensorrt_rtx`."""

    ComputeCapability: type[objects.Enumeration]
    CudaGraphStrategy: type[objects.CudaGraphStrategy]
