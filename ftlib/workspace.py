"""Where a project's files lie, and how a stage knows that its work is done.

The stages talk through files in one folder:

    documents.jsonl      01_scrape     one document a row
    chats.jsonl          02_synth      one chat a row
    runs/<name>/         03_train      adapter, settings, loss curve
    evals/<name>/        04_eval       samples.jsonl, results.json, report.html

Beside each lies a manifest, written last and by atomic rename: a manifest exists only for finished work.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, is_dataclass
from importlib import metadata
from pathlib import Path
from typing import IO, Any

from ftlib import __version__
from ftlib.errors import SetupError

_HALF = re.compile("[\ud800-\udfff]")
NOTEBOOKS = {"documents": "01_scrape", "chats": "02_synth", "run": "03_train", "eval": "04_eval"}


@dataclass(frozen=True)
class Workspace:
    """The paths of one project. Make it with `open_workspace`, which checks that it can be written."""

    root: Path

    @property
    def documents(self) -> Path:
        return self.root / "documents.jsonl"

    @property
    def chats(self) -> Path:
        return self.root / "chats.jsonl"

    @property
    def clones(self) -> Path:
        """Bare clones of remote repositories, and the sample when it is built."""
        return self.root / "clones"

    @property
    def answers(self) -> Path:
        """What GitHub answered, so that it is not asked twice."""
        return self.root / "answers"

    def hashes(self, files: Mapping[str, Path]) -> dict[str, str]:
        return {name: file_hash(path) for name, path in files.items()}

    def run(self, name: str) -> Path:
        return self.root / "runs" / _checked(name)

    def eval(self, name: str) -> Path:
        return self.root / "evals" / _checked(name)


def _checked(name: str) -> str:
    fits = name.isprintable() and name == name.strip() and 0 < len(name.encode()) <= 200
    if not fits or name in {".", ".."} or any(c in name for c in "/\\:"):
        raise SetupError(f"{name!r} can't be the name of a run: use letters, digits, '-', '_' and '.'.")
    return name


def open_workspace(root: str | Path) -> Workspace:
    """Make the folder where it is missing and prove that it can be written.

    Raises:
        SetupError: the folder can't be made or written (read-only disk, a file of that name, no rights).
    """
    path = Path(root)
    try:
        path = path.expanduser().resolve()
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except (OSError, RuntimeError) as error:  # RuntimeError: expanduser knows no such user, resolve met a loop
        raise SetupError(
            f"The workspace {path} can't be written ({getattr(error, 'strerror', None) or error}). "
            "Set `workspace` to a folder of yours, for example 'workspace' or, on Colab, '/content/ftlib'."
        ) from error
    return Workspace(path)


# --- files ------------------------------------------------------------------------------------------------------------


@contextmanager
def atomic_write(path: Path, mode: str = "w") -> Iterator[IO[Any]]:
    """Open a temporary file that takes `path`'s name when the block ends well, and vanishes when it does not."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        encoding, newline = (None, None) if "b" in mode else ("utf-8", "\n")
        with open(descriptor, mode, encoding=encoding, newline=newline) as handle:
            yield handle
            handle.flush()
            os.fsync(handle.fileno())
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def write_jsonl(path: Path, rows: Iterable[Mapping[str, Any]]) -> int:
    """Write rows one by one (memory stays flat) and return their number."""
    count = 0
    with atomic_write(path) as out:
        for row in rows:
            out.write(_json(row) + "\n")
            count += 1
    return count


def _json(value: Any, indent: int | None = None) -> str:
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    # Half a character, as a model or a truncated text may have it, can be written as an escape only.
    return json.dumps(value, indent=indent) if _HALF.search(text) else text


def read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of a JSONL file.

    Raises:
        SetupError: the file is missing, or a line is not a JSON object; the message names file and line.
    """
    if not path.is_file():
        raise SetupError(f"{path} does not exist.")
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line.decode("utf-8-sig"))  # an editor may have put a byte order mark
            except ValueError as error:
                raise SetupError(f"{path}, line {number}: not valid JSON ({error}). Mend the line.") from error
            if not isinstance(row, dict):
                raise SetupError(f"{path}, line {number}: a JSON object was expected, found {type(row).__name__}.")
            yield row


def write_json(path: Path, value: Any) -> None:
    with atomic_write(path) as out:
        out.write(_json(plain(value), indent=2) + "\n")


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def plain(value: Any) -> Any:
    """`value` as JSON can hold it: dataclasses to dicts, paths to strings, tuples and sets to lists."""
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (set, frozenset)):
        return sorted(plain(v) for v in value)
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    return str(value) if isinstance(value, Path) else value


def file_hash(path: Path) -> str:
    """SHA-256 of a file, in hex. Raises SetupError where it is missing."""
    if not path.is_file():
        raise SetupError(f"{path} is missing. Run the notebook again that writes it.")
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


# --- manifests --------------------------------------------------------------------------------------------------------


def manifest_path(target: Path) -> Path:
    """`documents.jsonl` -> `documents.manifest.json`; `runs/x` -> `runs/x/manifest.json`."""
    return target.with_suffix(".manifest.json") if target.suffix == ".jsonl" else target / "manifest.json"


def read_manifest(target: Path) -> dict[str, Any] | None:
    path = manifest_path(target)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise SetupError(f"{path} is not valid JSON ({error}). Delete it; the stage will then run again.") from error


def skipped_paths(manifest: Mapping[str, Any]) -> list[str]:
    """The paths that 01_scrape left out, from its manifest."""
    rows = manifest.get("skipped") or []
    return [row["path"] for row in rows if isinstance(row, Mapping) and "path" in row]


def write_manifest(
    target: Path,
    *,
    stage: str,
    settings: Any,
    inputs: Mapping[str, Path] | None = None,
    counts: Mapping[str, Any] | None = None,
    packages: Iterable[str] = (),
    **more: Any,
) -> dict[str, Any]:
    """Write the manifest of finished work; call it last. Returns what was written."""
    manifest = {
        "stage": stage,
        "version": __version__,
        "settings": plain(settings),
        "inputs": {name: file_hash(path) for name, path in (inputs or {}).items()},
        "output": file_hash(target) if target.is_file() else None,
        "counts": plain(counts or {}),
        "packages": {name: version for name in packages if (version := installed(name))},
        **plain(more),
    }
    write_json(manifest_path(target), manifest)
    return manifest


def installed(package: str) -> str | None:
    """The version of an installed package, or None."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def is_done(target: Path, *, settings: Any, inputs: Mapping[str, Path] | None = None) -> bool:
    """Whether `target` is finished work of these settings and inputs; prints a line when it is.

    A file that was edited after the stage wrote it is the user's own, and is kept.
    """
    manifest = read_manifest(target)
    if manifest is None or not target.exists() or manifest["version"] != __version__:
        return False
    if manifest["settings"] != json.loads(json.dumps(plain(settings))):
        return False
    if manifest["inputs"] != {name: file_hash(path) for name, path in (inputs or {}).items()}:
        return False
    edited = manifest["output"] is not None and manifest["output"] != file_hash(target)
    note = "; it was edited since and is kept so" if edited else ""
    name = manifest_path(target).name
    print(f"{manifest['stage']}: {target.name} is up to date{note} (delete {name} to make it anew)")
    return True


def require(workspace: Workspace, *kinds: str) -> None:
    """Check that the named outputs exist, are finished, and were made from the inputs that lie here now.

    Args:
        kinds: of "documents", "chats".

    Raises:
        SetupError: one is missing, unfinished or stale; the message names the notebook to run.
    """
    for kind in kinds:
        target = getattr(workspace, kind)
        manifest = read_manifest(target) if target.is_file() else None
        if manifest is None:
            state = "has no manifest (unfinished)" if target.is_file() else "is missing"
            raise SetupError(
                f"{target.name} {state} in {workspace.root}. Run notebook {NOTEBOOKS[kind]} first "
                "(with the same `workspace`)."
            )
        for name, digest in manifest["inputs"].items():
            source = getattr(workspace, name, None)
            if isinstance(source, Path) and source.is_file() and file_hash(source) != digest:
                raise SetupError(
                    f"{target.name} was made from another {source.name} than the one in {workspace.root} now. "
                    f"Run notebook {NOTEBOOKS[kind]} again."
                )


def require_run(workspace: Workspace, name: str) -> dict[str, Any]:
    """The manifest of a finished run.

    Raises:
        SetupError: the run is missing or unfinished; the message names the runs that there are.
    """
    manifest = read_manifest(workspace.run(name))
    if manifest is None:
        there = sorted(path.parent.name for path in workspace.root.glob("runs/*/manifest.json"))
        raise SetupError(
            f"There is no finished run {name!r} in {workspace.root} ({', '.join(there) or 'no run at all'}). "
            f"Run notebook {NOTEBOOKS['run']} first, or set `run_name`."
        )
    return manifest
