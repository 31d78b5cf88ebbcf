"""Values that no model has are refused by the entry's name, and those that models have are not."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest

from compiler.checkpoint import resolve
from compiler.checkpoint.sane import require_sane
from compiler.errors import CheckpointError

COUNTS = ("num_hidden_layers", "hidden_size", "num_attention_heads", "vocab_size", "max_position_embeddings", "n_layer")
ABSURD: list[tuple[str, Any]] = [
    *((name, value) for name in COUNTS for value in (-4, 0, 1.5, 1e300, "12", True, [0], math.nan, math.inf)),
    *(("layer_norm_eps", value) for value in (-1e-5, "1e-5", math.nan, math.inf, [])),
    *(("rms_norm_eps", value) for value in (-1.0, True)),
    *(("rope_theta", value) for value in (0, -10000.0, math.nan)),
    *(("hidden_dropout_prob", value) for value in (-0.1, 1.5, math.nan)),
    *(("return_dict", value) for value in (False, 0, "x")),
    *(("output_hidden_states", value) for value in ("x", 1)),
    *(("chunk_size_feed_forward", value) for value in (4, -4, "x", [])),
    *(("id2label", value) for value in ("x", [], 3)),
    *(("num_labels", value) for value in (-2, "x", 0)),
    *(("rope_scaling", value) for value in ("linear", 4.0)),
    *(("torch_dtype", value) for value in ("x", 5)),
    ("attention_multiplier", math.nan),
    ("logits_scaling", -math.inf),
    ("final_logit_softcapping", math.inf),
    ("type_vocab_size", -1),
    ("relative_attention_max_distance", 0),
]
USUAL: list[tuple[str, Any]] = [
    ("head_dim", None),
    ("num_key_value_heads", None),
    ("sliding_window", None),
    ("type_vocab_size", 0),
    ("num_key_value_heads", [4, 2]),  # a count for each layer, as in OpenELM
    ("layer_norm_eps", 1),
    ("time_step_limit", [0.0, math.inf]),
    ("max_relative_positions", -1),
    ("pad_token_id", -1),
    ("layerdrop", 0.0),
    ("return_dict", True),
    ("output_hidden_states", True),
    ("id2label", {"0": "LABEL_0"}),
    ("label2id", {"dim": 0, "head_dim": -1}),
    ("task_specific_params", {"summarization": {"num_labels": 0}}),
    ("rope_scaling", {"type": "linear", "factor": 2.0}),
    ("torch_dtype", "bfloat16"),
]


@pytest.mark.parametrize(("name", "value"), ABSURD)
def test_what_no_model_has_is_refused_by_name(name: str, value: Any) -> None:
    for config in ({name: value}, {"text_config": {name: value}}):
        with pytest.raises(CheckpointError, match=f'"{name}" of config.json cannot be') as caught:
            require_sane(config, "m")
        assert caught.value.expected


@pytest.mark.parametrize(("name", "value"), USUAL)
def test_what_models_have_is_let_pass(name: str, value: Any) -> None:
    require_sane({name: value}, "m")


def test_a_checkpoint_is_refused_before_it_is_loaded(tiny_encoder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_encoder, tmp_path / "model"))
    config = folder / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "num_attention_heads": -4}))
    with pytest.raises(CheckpointError, match="num_attention_heads") as caught:
        resolve(str(folder), cache=tmp_path / "cache")
    assert caught.value.exit_code == 4
