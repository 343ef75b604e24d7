"""A LoRA adapter's file: what it changes, its scale, whether it fits a base, and the base's weights with it merged in.

PEFT (0.21) takes an adapter of another base in its own way: other widths end in a RuntimeError of a line per tensor, an
adapter of fewer layers is loaded with a warning, and one of more layers is loaded in part without a word.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ftlib.errors import SetupError
from ftlib.models import model_not_found, model_path
from ftlib.workspace import read_json, write_json

DTYPES = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}
SHARD_BYTES = 2**30
WEIGHTS = "adapter_model.safetensors"
_PREFIX = "base_model.model."
# Other kinds of LoRA (by PEFT's config) whose merged weights aren't W + scale * B @ A.
_OTHER = (
    "use_dora lora_bias alora_invocation_tokens use_qalora use_bdlora velora_config monteclora_config kasa_config "
    "arrow_config layer_replication target_parameters trainable_token_indices"
).split()
# These initialisations move a part of the base's weights into the adapter.
_MOVING = ("pissa", "olora", "corda", "loftq", "lora_ga", "mica")


@dataclass(frozen=True)
class Adapter:
    """What an adapter file holds; the tensors stay in it."""

    file: Path
    config: dict[str, Any]
    """adapter_config.json."""
    shapes: dict[str, tuple[int, ...]]
    """Of each tensor, by its name in the file."""
    pairs: dict[str, tuple[str, str]]
    """Module -> names of A (r x in) and B (out x r)."""
    whole: dict[str, str]
    """Parameter of the base -> name of the tensor that replaces it (modules_to_save)."""

    @property
    def parameters(self) -> int:
        return sum(math.prod(shape) for shape in self.shapes.values())


def read_adapter(folder: Path) -> Adapter:
    """The adapter of a run folder, or of a folder as PEFT writes it.

    Raises:
        SetupError: a file is missing or damaged, or the adapter is of a kind that can't be merged by W + scale * B @ A.
    """
    from safetensors import SafetensorError, safe_open

    folder = folder / "adapter" if (folder / "adapter").is_dir() else folder
    file = folder / WEIGHTS
    try:
        config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
        with safe_open(file, "pt") as tensors:
            shapes = {name: tuple(tensors.get_slice(name).get_shape()) for name in tensors.keys()}  # noqa: SIM118
    except (OSError, ValueError, SafetensorError) as error:
        raise SetupError(
            f"{folder} holds no whole adapter ({error}). It needs adapter_config.json and {WEIGHTS}: run notebook "
            "03_train again."
        ) from error
    other = [name for name in _OTHER if config.get(name)]
    if str(config.get("init_lora_weights", "")).lower().startswith(_MOVING):
        other.append(f"init_lora_weights={config['init_lora_weights']}")
    if config.get("peft_type") != "LORA" or other:
        kind = ", ".join(other) or config.get("peft_type")
        raise SetupError(f"{folder}: an adapter with {kind} can't be merged here. Merge it with PEFT itself.")
    pairs: dict[str, dict[str, str]] = {}
    whole = {}
    for name in shapes:
        inner = name.removeprefix(_PREFIX)
        if found := re.fullmatch(r"(.+)\.lora_(?:embedding_)?([AB])(?:\.weight)?", inner):
            pairs.setdefault(found[1], {})[found[2]] = name
        else:
            whole[inner] = name
    if half := [module for module, pair in pairs.items() if len(pair) < 2]:
        raise SetupError(f"{file}: {half[0]} has only one of A and B. Run notebook 03_train again.")
    return Adapter(file, config, shapes, {m: (pair["A"], pair["B"]) for m, pair in pairs.items()}, whole)


def scale(config: dict[str, Any], module: str, rank: int) -> float:
    """What B @ A is multiplied by: alpha / r, with rsLoRA alpha / sqrt(r) (Kalajdzievski 2023, arXiv:2312.03732)."""
    alpha = config["lora_alpha"]
    for pattern, value in (config.get("alpha_pattern") or {}).items():
        if re.match(rf"(.*\.)?({pattern})$", module):  # as PEFT's get_pattern_key
            alpha = value
            break
    return alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)


def base_skeleton(model: str) -> Any:
    """The model without weights (on torch's meta device), made from its config.json.

    Raises:
        SetupError: no such model.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    try:
        config = AutoConfig.from_pretrained(model_path(model))
        with torch.device("meta"):
            return AutoModelForCausalLM.from_config(config)
    except (OSError, ValueError) as error:
        raise model_not_found(model, error) from error


def check_base(folder: Path, model: str) -> None:
    """Check, from config and file headers alone, that a run's adapter was made for this base.

    What can't be seen: another base of the very same shapes (v0.1 for v0.2).

    Args:
        folder: a run folder, or a folder with an adapter.
        model: the base's name: a hub id, a folder, or "demo".

    Raises:
        SetupError: the adapter has modules or shapes that the base has not, or lacks modules that its own config
            targets in the base; the message names both.
    """
    from peft import PeftConfig
    from peft.tuners.tuners_utils import check_target_module_exists
    from torch import nn

    adapter = read_adapter(folder)
    skeleton = base_skeleton(model)
    modules = dict(skeleton.named_modules())
    parameters = {name: tuple(p.shape) for name, p in skeleton.named_parameters(remove_duplicate=False)}
    wrong = []
    for module, (a, b) in adapter.pairs.items():
        (rank, into), (out, other_rank) = adapter.shapes[a], adapter.shapes[b]
        theirs = (into, out) if isinstance(modules.get(module), nn.Embedding) else (out, into)
        shape = parameters.get(f"{module}.weight")
        if shape is None:
            wrong.append(f"{module} is not in the base")
        elif not isinstance(modules[module], nn.Linear | nn.Embedding):
            wrong.append(f"{module} is a {type(modules[module]).__name__}, which can't be merged here")
        elif shape != theirs or rank != other_rank:
            wrong.append(f"{module} is {_times(theirs)} in the adapter, {_times(shape)} in the base")
    for name, stored in adapter.whole.items():
        if name not in parameters:
            wrong.append(f"{name} is not in the base")
        elif parameters[name] != adapter.shapes[stored]:
            wrong.append(f"{name} is {_times(adapter.shapes[stored])} in the adapter, {_times(parameters[name])} there")
    config = PeftConfig.from_pretrained(str(adapter.file.parent))
    for name, module in modules.items():
        targeted = isinstance(module, nn.Linear) and check_target_module_exists(config, name)
        if targeted and name not in adapter.pairs and f"{name}.weight" not in adapter.whole:
            wrong.append(f"{name} is in the base, not in the adapter")
    if wrong:
        trained = str(adapter.config.get("base_model_name_or_path") or "a model that it does not name")
        raise SetupError(
            f"The adapter in {adapter.file.parent} (trained on {trained}) does not fit the base {model}: "
            f"{'; '.join(wrong[:3])}{f'; and {len(wrong) - 3} more' if len(wrong) > 3 else ''}. "
            "Set `model` in settings.json to the base that the adapter was trained on."
        )


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


# --- weights ----------------------------------------------------------------------------------------------------------


def base_files(model: str, skeleton: Any) -> dict[str, Path]:
    """Tensor name -> the safetensors file of the base that holds it; downloaded where need be.

    Raises:
        SetupError: quantised weights, weights that are no safetensors, a shard that is missing, or no such model.
    """
    from safetensors import safe_open
    from transformers.utils.hub import cached_file

    if getattr(skeleton.config, "quantization_config", None):
        raise SetupError(
            f"The base {model} holds quantised weights only. Set `model` in settings.json to its 16-bit original "
            "(the name without '-bnb-4bit', for example)."
        )
    path = model_path(model)

    def fetch(name: str) -> Path | None:
        found = cached_file(path, name, _raise_exceptions_for_missing_entries=False)
        return Path(found) if found else None

    try:
        if index := fetch("model.safetensors.index.json"):
            mapped = read_json(index)["weight_map"]
            local = {name: fetch(name) for name in sorted(set(mapped.values()))}
            if missing := [name for name, file in local.items() if file is None]:
                raise SetupError(f"The base {model} lacks {missing[0]}, which its index names: load it anew.")
            return {name: file for name in mapped if (file := local[mapped[name]])}
        if single := fetch("model.safetensors"):
            with safe_open(single, "pt") as tensors:
                return dict.fromkeys(tensors.keys(), single)
    except OSError as error:
        raise model_not_found(model, error) from error
    raise SetupError(f"The base {model} has no model.safetensors: save it once with `save_pretrained`.")


def write_merged(adapter: Adapter, files: Mapping[str, Path], skeleton: Any, folder: Path, dtype: str) -> bool:
    """Write the base's tensors, those that the adapter changes as W + scale * B @ A, as model*.safetensors in `folder`.

    The sum is taken in fp32 and rounded once to `dtype`; memory is two output
    shards (safetensors copies) and one tensor in fp32.

    Returns:
        whether input and output embeddings are tied in what was written.

    Raises:
        SetupError: a weight that is not finite, or a module that the base's files know by another name.
    """
    import torch
    from safetensors import safe_open
    from safetensors.torch import save_file

    device = "cuda" if torch.cuda.is_available() else "cpu"
    used: set[str] = set()
    inner = {module: name for name, module in skeleton.named_modules()}
    embed = f"{inner[skeleton.get_input_embeddings()]}.weight"
    head = f"{inner[skeleton.get_output_embeddings()]}.weight"
    tied = bool(skeleton.config.tie_word_embeddings)
    parameters = {name for name, _ in skeleton.named_parameters(remove_duplicate=False)}
    changed = {*adapter.whole, *(f"{module}.weight" for module in adapter.pairs)}
    # Of two tied weights PEFT changes the one that is named, and leaves the other as it was.
    untie = tied and bool({embed, head} & changed) and not adapter.config.get("ensure_weight_tying")
    plan = [(name, name) for name in files if not (tied and name == head)] + ([(head, embed)] if untie else [])

    with safe_open(adapter.file, "pt", device) as tensors:

        def final(name: str, weight: Any) -> Any:
            module = name.removesuffix(".weight")
            if name in adapter.whole:
                used.add(name)
                weight = tensors.get_tensor(adapter.whole[name])
            elif module in adapter.pairs and name.endswith(".weight"):
                used.add(name)
                a, b = (tensors.get_tensor(stored).float() for stored in adapter.pairs[module])
                delta = b @ a * scale(adapter.config, module, a.shape[0])
                # An embedding's B is hidden x r, its A r x vocabulary; its weight is vocabulary x hidden.
                embedding = "lora_embedding" in adapter.pairs[module][0]
                weight = weight.to(device).float() + (delta.T if embedding else delta)
            if name not in parameters:
                return weight
            weight = weight.to(getattr(torch, DTYPES[dtype])).cpu()
            if not torch.isfinite(weight).all():
                raise SetupError(
                    f"{name} is not finite in {dtype}: the adapter is broken, or, in fp16, out of range (use bf16)."
                )
            return weight.contiguous()

        shards: list[list[str]] = []
        total = 0
        for shard in _shards((name, final(name, _read(files[source], source))) for name, source in plan):
            shards.append(list(shard))
            total += sum(tensor.nbytes for tensor in shard.values())
            save_file(shard, folder / f"shard-{len(shards)}", metadata={"format": "pt"})
            (folder / f"shard-{len(shards)}").chmod(0o644)  # it is made for the owner alone
    if tied and not untie:
        used.add(head)
    if left := sorted(changed - used):
        raise SetupError(
            f"The base's files hold no {left[0]} (its modules have other names than its tensors). Merge with PEFT "
            "(`merge_and_unload`) instead."
        )
    if len(shards) == 1:
        (folder / "shard-1").rename(folder / "model.safetensors")
        return tied and not untie
    weight_map: dict[str, str] = {}
    for number, names in enumerate(shards, 1):
        file = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        (folder / f"shard-{number}").rename(folder / file)
        weight_map |= dict.fromkeys(names, file)
    write_json(folder / "model.safetensors.index.json", {"metadata": {"total_size": total}, "weight_map": weight_map})
    return tied and not untie


def _read(file: Path, name: str) -> Any:
    from safetensors import safe_open

    with safe_open(file, "pt") as tensors:
        return tensors.get_tensor(name)


def _shards(named: Iterable[tuple[str, Any]]) -> Iterator[dict[str, Any]]:
    shard: dict[str, Any] = {}
    for name, tensor in named:
        if shard and sum(t.nbytes for t in shard.values()) + tensor.nbytes > SHARD_BYTES:
            yield shard
            shard = {}
        shard[name] = tensor
    yield shard
