"""Small bundles for tests: random weights, real operators, a tokenizer of whole words."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from compiler import bundle, records
from compiler.records import CacheShape, EngineOptions, Kind, Manifest, Normalize, Pooling, Source, Tensor

SPECIAL = ("<pad>", "<bos>", "<eos>", "<unk>", "<user>", "<assistant>")
WORDS = [f"{first}{second}" for first in "bdfgklmnprst" for second in ("an", "el", "ir", "os")]
VOCABULARY = len(SPECIAL) + len(WORDS)
HIDDEN, HEADS, KV_HEADS, HEAD_DIM, LAYERS, CONTEXT = 32, 2, 1, 16, 2, 64
MEAN = Pooling(modes=("mean",), modules=(Normalize(),))
CACHE = {"layers": LAYERS, "kv_heads": KV_HEADS, "head_dim": HEAD_DIM}
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'system' %}{{ raise_exception('no system messages') }}{% endif %}"
    "<{{ message['role'] }}> {{ message['content'] }} {% endfor %}<assistant>"
)

_TYPES = {"float32": TensorProto.FLOAT, "int64": TensorProto.INT64}


class Graph:
    """Nodes, weights, inputs and outputs of one ONNX graph in the making."""

    def __init__(self, seed: int = 0) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.random = np.random.default_rng(seed)

    def add(self, operator: str, *inputs: str, outputs: int = 1, module: str = "", **attributes: object) -> str:
        """Append a node; the name of its (first) output, the others have .1, .2 appended."""
        name = f"v{len(self.nodes)}"
        names = [name, *(f"{name}.{index}" for index in range(1, outputs))]
        node = helper.make_node(operator, list(inputs), names, name=f"n{len(self.nodes)}", **attributes)
        if module:
            node.metadata_props.add(key="module", value=module)
        self.nodes.append(node)
        return name

    def constant(self, array: np.ndarray) -> str:
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(array, name))
        return name

    def weight(self, *shape: int) -> str:
        scale = 1 / np.sqrt(shape[0])
        return self.constant(self.random.normal(0, scale, shape).astype(np.float32))

    def rename(self, old: str, new: str) -> None:
        self.nodes.append(helper.make_node("Identity", [old], [new], name=f"n{len(self.nodes)}"))

    def save(self, path: Path, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]) -> None:
        values = [
            [helper.make_tensor_value_info(each.name, _TYPES[each.dtype], each.shape) for each in tensors]
            for tensors in (inputs, outputs)
        ]
        graph = helper.make_graph(self.nodes, "tiny", *values, self.weights)
        opsets = [helper.make_opsetid("", 23), helper.make_opsetid("com.microsoft", 1)]
        onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=11), path)


def encoder(path: Path) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Token vectors that depend on all unmasked tokens. Inputs and outputs are returned."""
    shape = ("batch", "sequence")
    inputs = tuple(
        Tensor(name=n, dtype="int64", shape=shape) for n in ("input_ids", "attention_mask", "token_type_ids")
    )
    outputs = (Tensor(name="last_hidden_state", dtype="float32", shape=(*shape, HIDDEN)),)
    graph = Graph()
    states = graph.add("Gather", graph.weight(VOCABULARY, HIDDEN), "input_ids", module="embeddings")
    states = graph.add("Add", states, graph.add("Gather", graph.weight(2, HIDDEN), "token_type_ids"))
    seen = graph.add("Cast", "attention_mask", to=TensorProto.BOOL)
    seen = graph.add("Unsqueeze", seen, graph.constant(np.array([1, 2])))
    rows = graph.add("Unsqueeze", "input_ids", graph.constant(np.array([1, 3])))
    seen = graph.add("And", seen, graph.add("GreaterOrEqual", rows, graph.constant(np.array(0))))
    query, key, value = (
        graph.add("MatMul", states, graph.weight(HIDDEN, HIDDEN), module=f"layer.0.{part}") for part in "qkv"
    )
    mixed = graph.add("Attention", query, key, value, seen, q_num_heads=HEADS, kv_num_heads=HEADS, module="layer.0")
    graph.rename(graph.add("Add", states, mixed), "last_hidden_state")
    graph.save(path, inputs, outputs)
    return inputs, outputs


def decoder(path: Path, layout: str) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """The same weights in either cache layout: GroupQueryAttention, or standard operators with a growing cache."""
    shared = layout == "shared"
    graph = Graph()
    states = graph.add("Gather", graph.weight(VOCABULARY, HIDDEN), "input_ids", module="model.embed_tokens")
    angles = np.outer(np.arange(CONTEXT), 100.0 ** -(np.arange(HEAD_DIM // 2) / (HEAD_DIM // 2))).astype(np.float32)
    rotary = graph.constant(np.cos(angles)), graph.constant(np.sin(angles))
    prepared = _shared_prologue(graph) if shared else _concatenated_prologue(graph)
    for layer in range(LAYERS):
        sizes = (HEADS * HEAD_DIM, KV_HEADS * HEAD_DIM, KV_HEADS * HEAD_DIM)
        q, k, v = (
            graph.add(
                "MatMul", states, graph.weight(HIDDEN, size), module=f"model.layers.{layer}.self_attn.{part}_proj"
            )
            for part, size in zip("qkv", sizes, strict=True)
        )
        attend = _shared_attention if shared else _concatenated_attention
        mixed = attend(graph, layer, (q, k, v), rotary, prepared)
        out = graph.add("MatMul", mixed, graph.weight(HEADS * HEAD_DIM, HIDDEN), module=f"model.layers.{layer}.o_proj")
        states = graph.add("Add", states, out)
    if shared:
        where = graph.add("Unsqueeze", "logits_positions", graph.constant(np.array([-1])))
        states = graph.add("GatherND", states, where, batch_dims=1)
    graph.rename(graph.add("MatMul", states, graph.weight(HIDDEN, VOCABULARY), module="lm_head"), "logits")
    signature = decoder_signature(shared)
    graph.save(path, *signature)
    return signature


def decoder_signature(shared: bool) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    def cache(prefix: str, dim: str) -> tuple[Tensor, ...]:
        return tuple(
            Tensor(name=f"{prefix}.{layer}.{part}", dtype="float32", shape=("batch", KV_HEADS, dim, HEAD_DIM))
            for layer in range(LAYERS)
            for part in ("key", "value")
        )

    inputs = (
        Tensor(name="input_ids", dtype="int64", shape=("batch", "sequence")),
        Tensor(name="attention_mask", dtype="int64", shape=("batch", "total_sequence")),
        Tensor(name="logits_positions", dtype="int64", shape=("batch", "kept"))
        if shared
        else Tensor(name="position_ids", dtype="int64", shape=("batch", "sequence")),
        *cache("past_key_values", "past_sequence"),
    )
    logits = Tensor(name="logits", dtype="float32", shape=("batch", "kept" if shared else "sequence", VOCABULARY))
    return inputs, (logits, *cache("present", "total_sequence"))


def _shared_prologue(graph: Graph) -> tuple[str, ...]:
    total = graph.add("Cast", graph.add("Shape", "attention_mask", start=1, end=2), to=TensorProto.INT32)
    lengths = graph.add("ReduceSum", "attention_mask", graph.constant(np.array([1])), keepdims=0)
    last = graph.add("Cast", graph.add("Sub", lengths, graph.constant(np.array(1))), to=TensorProto.INT32)
    return last, total


def _shared_attention(
    graph: Graph, layer: int, qkv: tuple[str, ...], rotary: tuple[str, ...], prepared: tuple[str, ...]
) -> str:
    past = [f"past_key_values.{layer}.{part}" for part in ("key", "value")]
    name = graph.add(
        "GroupQueryAttention",
        *(*qkv, *past, *prepared, *rotary),
        outputs=3,
        domain="com.microsoft",
        num_heads=HEADS,
        kv_num_heads=KV_HEADS,
        do_rotary=1,
        module=f"model.layers.{layer}.self_attn",
    )
    graph.nodes[-1].output[1:] = [f"present.{layer}.key", f"present.{layer}.value"]
    return name


def _concatenated_prologue(graph: Graph) -> tuple[str, ...]:
    zero, one = graph.constant(np.array(0)), graph.constant(np.array(1))
    axis, scalar = graph.constant(np.array([-1])), graph.constant(np.array([0]))
    total = graph.add("Squeeze", graph.add("Shape", "attention_mask", start=1, end=2), scalar)
    new = graph.add("Squeeze", graph.add("Shape", "input_ids", start=1, end=2), scalar)
    rows = graph.add("Unsqueeze", graph.add("Range", graph.add("Sub", total, new), total, one), axis)
    causal = graph.add("GreaterOrEqual", rows, graph.add("Range", zero, total, one))
    real = graph.add("Cast", "attention_mask", to=TensorProto.BOOL)
    return (graph.add("And", causal, graph.add("Unsqueeze", real, graph.constant(np.array([1, 2])))),)


def _concatenated_attention(
    graph: Graph, layer: int, qkv: tuple[str, ...], rotary: tuple[str, ...], prepared: tuple[str, ...]
) -> str:
    cos, sin = (graph.add("Gather", table, "position_ids") for table in rotary)
    heads = [
        graph.add(
            "Transpose",
            graph.add("Reshape", part, graph.constant(np.array([0, 0, count, HEAD_DIM]))),
            perm=[0, 2, 1, 3],
        )
        for part, count in zip(qkv, (HEADS, KV_HEADS, KV_HEADS), strict=True)
    ]
    query, key = (graph.add("RotaryEmbedding", part, cos, sin) for part in heads[:2])
    for part, new in (("key", key), ("value", heads[2])):
        graph.add("Concat", f"past_key_values.{layer}.{part}", new, axis=2)
        graph.nodes[-1].output[0] = f"present.{layer}.{part}"
    present = [f"present.{layer}.{part}" for part in ("key", "value")]
    mixed = graph.add("Attention", query, *present, *prepared, module=f"model.layers.{layer}.self_attn")
    joined = graph.add("Transpose", mixed, perm=[0, 2, 1, 3])
    return graph.add("Reshape", joined, graph.constant(np.array([0, 0, HEADS * HEAD_DIM])))


def write_tokenizer(folder: Path, *, bos: bool = False) -> None:
    vocabulary = {token: index for index, token in enumerate((*SPECIAL, *WORDS))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.add_special_tokens(list(SPECIAL))
    if bos:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<bos> $A <eos>", special_tokens=[("<bos>", 1), ("<eos>", 2)]
        )
    tokenizer.save(str(folder / "tokenizer.json"))
    tokens = {"bos_token": "<bos>", "pad_token": "<pad>", **({"eos_token": "<eos>"} if bos else {})}
    (folder / "tokenizer_config.json").write_text(json.dumps(tokens))


def manifest(
    kind: Kind,
    inputs: tuple[Tensor, ...],
    outputs: tuple[Tensor, ...],
    *,
    layout: str = "",
    pooling: Pooling | None = None,
) -> Manifest:
    return Manifest(
        source=Source(kind="folder", name="tiny", digest="0" * 64),
        task="text-generation" if layout else "feature-extraction",
        kind=kind,
        architecture="Tiny",
        model_type="tiny",
        profile="test",
        precision="float32",
        engine="onnxruntime-cpu",
        engine_version="0",
        model="model.onnx",
        options=EngineOptions(threads=1, spinning=False),
        inputs=inputs,
        outputs=outputs,
        context_length=CONTEXT,
        vocabulary=VOCABULARY,
        parameters=1,
        versions={},
        files={},
        cache=CacheShape(**CACHE, layout=layout) if layout else None,
        pooling=pooling,
        padding="hidden",
    )


def encoder_bundle(folder: Path, *, pooling: Pooling | None = MEAN) -> Path:
    """A sealed feature-extraction bundle."""
    folder.mkdir(parents=True)
    signature = encoder(folder / "model.onnx")
    write_tokenizer(folder, bos=True)
    bundle.seal(folder, manifest("encoder", *signature, pooling=pooling))
    return folder


def decoder_bundle(folder: Path, *, layout: str = "shared", ends: tuple[int, ...] = ()) -> Path:
    """A sealed text-generation bundle. Answers end at the tokens `ends`."""
    folder.mkdir(parents=True)
    signature = decoder(folder / "model.onnx", layout)
    write_tokenizer(folder)
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": ends}))
    (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE)
    bundle.seal(folder, manifest("decoder", *signature, layout=layout))
    return folder


def failed(source: Path, folder: Path) -> Path:
    """A copy of a bundle whose certificate says "fail", here and with the engine that is here."""
    from tests.cli.conftest import certificate

    shutil.copytree(source, folder)
    records.save(certificate(), folder / bundle.CERTIFICATE)
    bundle.seal(folder, bundle.read(folder))
    return folder
