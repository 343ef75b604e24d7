"""An export for others: a GGUF by llama.cpp's own converter, checked, and an upload to the Hugging Face Hub.

Nothing leaves this machine but the files of one folder, and none of them may name a path of it.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ftlib import runtime
from ftlib.errors import SetupError
from ftlib.workspace import read_json, read_manifest

CONVERTER, QUANTISER = "convert_hf_to_gguf.py", "llama-quantize"
# What the converter writes itself; the others are llama-quantize's, made from bf16.
DIRECT = ("f32", "f16", "bf16", "q8_0")
QUANTISED = "q4_0 q4_1 q5_0 q5_1 q2_k q3_k_s q3_k_m q3_k_l q4_k_s q4_k_m q5_k_s q5_k_m q6_k".split()
# The converter adds these to some architectures.
_ADDED = ("rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight")


# --- GGUF -------------------------------------------------------------------------------------------------------------


def gguf(merged: Path, quantisation: str = "q8_0", llama_cpp: str | Path | None = None) -> Path:
    """Convert a merged folder to `<merged>-<quantisation>.gguf` beside it, and check the file.

    Args:
        quantisation: of DIRECT or QUANTISED (llama.cpp's names).
        llama_cpp: the folder of llama.cpp; None: LLAMA_CPP, else what is on PATH.

    Raises:
        SetupError: llama.cpp is not at hand (the message holds the commands), it failed (with its output), or the
            file's tensors, architecture, EOS, chat template or vocabulary are not the merged model's.
    """
    kind = quantisation.lower()
    if kind not in (*DIRECT, *QUANTISED):
        raise SetupError(f"quantisation={quantisation!r} is unknown: use {', '.join((*DIRECT, *QUANTISED))}.")
    if not (merged / "config.json").is_file():
        raise SetupError(f"{merged} holds no merged model: run `python -m ftlib.export RUN_FOLDER` first.")
    merged = merged.resolve()
    out = merged.with_name(f"{merged.name}-{kind}.gguf")
    first = kind if kind in DIRECT else "bf16"
    chosen = llama_cpp or os.environ.get("LLAMA_CPP")
    folder = Path(chosen).expanduser() if chosen else None
    converter = _tool(CONVERTER, folder, [""])
    quantiser = _tool(QUANTISER, folder, ["build/bin", "", "bin"]) if first != kind else None
    if converter is None or (first != kind and quantiser is None):
        raise SetupError(_commands(merged, out, first, kind, folder, CONVERTER if converter is None else QUANTISER))
    with tempfile.TemporaryDirectory(dir=merged.parent, prefix=f".{out.name}.") as fresh:
        made = Path(fresh) / "converted.gguf"
        _call([sys.executable, str(converter), str(merged), "--outfile", str(made), "--outtype", first], made)
        if quantiser:
            smaller = Path(fresh) / "quantised.gguf"
            _call([str(quantiser), str(made), str(smaller), kind.upper()], smaller)
            made = smaller
        _check_gguf(made, merged)
        made.chmod(0o644)
        os.replace(made, out)
    return out


def _tool(name: str, folder: Path | None, places: list[str]) -> Path | None:
    # Not by shutil.which alone: the script need not be executable.
    roots = [folder] if folder else [Path(place) for place in os.get_exec_path()]
    files = (root / place / name for root in roots for place in (places if folder else [""]))
    return next((file for file in files if file.is_file()), None)


def _commands(merged: Path, out: Path, first: str, kind: str, folder: Path | None, missing: str) -> str:
    where = f"in {folder}" if folder else "on PATH, and LLAMA_CPP is not set"
    converted = out.with_name(f"{merged.name}-{first}.gguf")
    lines = [
        f"llama.cpp's {missing} is not {where}. These commands do it by hand:",
        "  git clone --depth 1 https://github.com/ggml-org/llama.cpp",
        f"  {sys.executable} llama.cpp/{CONVERTER} {merged} --outfile {converted} --outtype {first}",
    ]
    if first != kind:
        lines.insert(2, f"  cmake -S llama.cpp -B llama.cpp/build && cmake --build llama.cpp/build -t {QUANTISER}")
        lines.append(f"  llama.cpp/build/bin/{QUANTISER} {converted} {out} {kind.upper()}")
    lines.append("Or run the first, set LLAMA_CPP to that folder, and call this again: it also checks the file.")
    return "\n".join(lines)


def _call(command: list[str], made: Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode or not made.is_file():
        tail = "\n".join((done.stdout + done.stderr).strip().splitlines()[-30:])
        raise SetupError(f"llama.cpp failed: {' '.join(command)}\n{tail}")


def _check_gguf(path: Path, merged: Path) -> None:
    """A converter that misreads a folder still writes a file, which then never ends its answers, for example."""
    try:
        from gguf import MODEL_ARCH_NAMES, GGUFReader
    except ImportError as error:
        raise SetupError("The `gguf` package, which checks the file, is missing: pip install gguf.") from error
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(merged)
    config = read_json(merged / "config.json")
    try:
        reader = GGUFReader(path)
        # Not the arrays: a vocabulary's takes seconds.
        values = {name: field.contents() for name, field in reader.fields.items() if len(field.types) == 1}
        words = len(reader.fields["tokenizer.ggml.tokens"].data) if "tokenizer.ggml.tokens" in reader.fields else 0
    except (ValueError, IndexError, KeyError, OSError) as error:
        raise SetupError(
            f"The converter wrote a file that is no whole GGUF ({error}): check the disk and llama.cpp."
        ) from error
    names = {tensor.name for tensor in reader.tensors} - set(_ADDED)
    stored = _tensor_names(merged)
    architecture = values.get("general.architecture")
    known = {"llama", "mistral"}
    wrong = []
    if architecture not in MODEL_ARCH_NAMES.values() or (config["model_type"] in known and architecture != "llama"):
        wrong.append(f"architecture {architecture!r} for a {config['model_type']} model")
    layers = values.get(f"{architecture}.block_count")
    if layers != config["num_hidden_layers"]:
        wrong.append(f"{layers} layers instead of {config['num_hidden_layers']}")
    # A mixture's experts are stacked into fewer tensors.
    if len(names) != len(stored) and not any(".experts." in name for name in stored):
        wrong.append(f"{len(names)} tensors instead of {len(stored)}")
    if (eos := values.get("tokenizer.ggml.eos_token_id")) != tokenizer.eos_token_id:
        wrong.append(f"EOS {eos} instead of {tokenizer.eos_token_id} ({tokenizer.eos_token})")
    if values.get("tokenizer.chat_template") != tokenizer.chat_template:
        wrong.append("another chat template than the tokenizer's")
    if words < len(tokenizer):
        wrong.append(f"{words} tokens in the vocabulary instead of {len(tokenizer)}")
    if wrong:
        raise SetupError(
            f"The GGUF of {merged} is not that model: {'; '.join(wrong)}. It was not kept. Update llama.cpp; if that "
            "does not help, this architecture needs its own converter."
        )


def _tensor_names(merged: Path) -> set[str]:
    from safetensors import safe_open

    index = merged / "model.safetensors.index.json"
    if index.is_file():
        return set(read_json(index)["weight_map"])
    with safe_open(merged / "model.safetensors", "pt") as tensors:
        return set(tensors.keys())


# --- hub --------------------------------------------------------------------------------------------------------------


def push(folder: Path, repository: str, token: str | None = None, private: bool = True) -> str:
    """Upload a run's adapter, or a folder with an adapter or a merged model, to the Hugging Face Hub.

    Args:
        folder: a run folder (its adapter is uploaded), `<run>/merged`, or another folder of either kind.
        repository: "owner/name"; made where it is missing.
        token: with the right to write; None: the secret HF_TOKEN.
        private: whether the repository is private; one that is public already is then refused.

    Returns:
        the repository's address.

    Raises:
        SetupError: unfinished work, a file that names a path of this machine, no token, no permission, a bad name, or
            no connection.
    """
    import httpx
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled
    from huggingface_hub.utils import validate_repo_id

    source = _finished(folder)
    try:
        validate_repo_id(repository)
        if "/" not in repository:
            raise HFValidationError("it names no owner")
    except HFValidationError as error:
        raise SetupError(f"{repository!r} can't be a repository ({error}). Write it as 'owner/name'.") from error
    refuse_paths_of_this_machine(source)
    token = token or runtime.secret("HF_TOKEN")
    if not token:
        raise SetupError("There is no token: make one that may write (huggingface.co/settings/tokens), set HF_TOKEN.")
    # The variable as it is now: huggingface_hub reads it at its import.
    api = HfApi(endpoint=os.environ.get("HF_ENDPOINT") or None, token=token)
    try:
        address = api.create_repo(repository, private=private, exist_ok=True)
        if private and not api.model_info(repository).private:
            raise SetupError(f"{repository} exists and is public. Take another name, or ask for it: private=False.")
        what = "adapter" if (source / "adapter_config.json").is_file() else "merged model"
        api.upload_folder(repo_id=repository, folder_path=source, commit_message=f"ftlib: {what}")
    except OfflineModeIsEnabled as error:
        raise SetupError("HF_HUB_OFFLINE is set, so nothing can be uploaded: unset it and restart.") from error
    except HfHubHTTPError as error:
        raise SetupError(_refused(repository, error.response.status_code, str(error.server_message or ""))) from error
    except httpx.HTTPError as error:
        raise SetupError(f"{api.endpoint} can't be reached ({type(error).__name__}). Check the network.") from error
    return str(address)


def _refused(repository: str, status: int, message: str) -> str:
    if status == 401:
        return f"The hub does not know the token (401) for {repository}: make a new one and set HF_TOKEN."
    if status in (403, 404):
        return (
            f"The token may not write to {repository} ({status}): check the owner's name, and that the token has the "
            "right to write there."
        )
    return f"The hub refused the upload to {repository} ({status}): {message or 'it gave no reason'}. Try again later."


def _finished(folder: Path) -> Path:
    """The folder to upload: the adapter of a run, else `folder` itself, whole."""
    if (folder / "adapter").is_dir():
        if read_manifest(folder) is None:
            raise SetupError(f"The run {folder.name} is unfinished. Run notebook 03_train to its end first.")
        folder = folder / "adapter"
    kinds = {"adapter_config.json": "adapter_model.*", "config.json": "model*.safetensors"}
    if not any((folder / config).is_file() and list(folder.glob(weights)) for config, weights in kinds.items()):
        raise SetupError(f"{folder} holds neither an adapter nor a merged model: give a run folder or <run>/merged.")
    return folder


def refuse_paths_of_this_machine(folder: Path) -> None:
    """Refuse a folder whose files (weights: their headers) name the home folder, the workspace or the working folder.

    Raises:
        SetupError: names the file and the path.
    """
    above = [path for path in folder.resolve().parents if len(path.parts) > 2]
    here = {Path.home(), Path.cwd(), *above[-1:]} - {Path("/")}
    written = "|".join(re.escape(form) for path in here for form in {str(path), json.dumps(str(path))[1:-1]})
    # A vocabulary may hold "/root/" or "/home/user": only a path that goes on, or ends the string, counts.
    pattern = re.compile(rf"(?<![\w.:/-])(?:{written})(?:[/\\]+\w[^\s\"']*|(?=[\"'\s]))")
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        text = _text(file)
        found = [match[0] for match in pattern.finditer(text)]
        if file.suffix == ".json" and file.name not in ("tokenizer.json", "vocab.json"):
            found += [value for value in _strings(json.loads(text)) if _is_here(value)]
        if found:
            raise SetupError(
                f"{file} names a path of this machine ({found[0]}), which would be uploaded. Write what others know "
                "there, the base's hub id for example, and push again."
            )


def _text(file: Path) -> str:
    if file.suffix == ".safetensors":
        with file.open("rb") as handle:
            return handle.read(int.from_bytes(handle.read(8), "little")).decode("utf-8", "replace")
    with file.open("rb") as handle:
        return handle.read(2**26).decode("utf-8", "replace")


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        value = [*value.values()]
    if isinstance(value, list):
        for item in value:
            yield from _strings(item)
    elif isinstance(value, str):
        yield value


def _is_here(value: str) -> bool:
    return (
        len(value) < 4096
        and "\0" not in value
        and len(Path(value).parts) > 2
        and os.path.isabs(value)
        and os.path.exists(value)
    )
