"""Execute the four notebooks in order, show what they print, and end with the verdict. See `make run`.

    python notebooks/run.py --repository sample --set max_steps=20 'eval_settings={"questions_limit": 20}'
    SET='max_steps=20 eval_settings={"questions_limit": 20}' python notebooks/run.py

The executed copies lie in the workspace, under notebooks/.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import re
import sys
import time
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

HERE = Path(__file__).resolve().parent
NAMES = ("01_scrape", "02_synth", "03_train", "04_eval")
ANSI = re.compile(r"\x1b\[[0-9;]*m")


class Streaming(NotebookClient):
    """Prints what the cells print, while they print it."""

    def process_message(self, msg: Any, cell: Any, cell_index: int) -> Any:
        if msg["header"]["msg_type"] == "stream":
            sys.stdout.write(msg["content"]["text"])
            sys.stdout.flush()
        return super().process_message(msg, cell, cell_index)


def parameters(notebook: Any) -> tuple[int, set[str]]:
    """Index of the cell tagged `parameters`, and the names it sets."""
    for index, cell in enumerate(notebook.cells):
        if "parameters" in cell.metadata.get("tags", []):
            targets = [node.targets[0] for node in ast.parse(cell.source).body if isinstance(node, ast.Assign)]
            return index, {target.id for target in targets if isinstance(target, ast.Name)}
    raise SystemExit("The notebook has no cell tagged `parameters`.")


def with_parameters(notebook: Any, values: dict[str, Any]) -> Any:
    """Put a cell with the values that this notebook knows behind its settings."""
    index, names = parameters(notebook)
    lines = [f"{name} = {value!r}" for name, value in values.items() if name in names]
    notebook.cells.insert(index + 1, nbformat.v4.new_code_cell("\n".join(lines), metadata={"tags": ["injected"]}))
    return notebook


def setting(text: str) -> tuple[str, Any]:
    """`name=value`; the value is Python where it reads as such, else a string."""
    name, found, value = text.partition("=")
    if not found or not name.isidentifier():
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form name=value")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        if value.startswith(("{", "[", "(")):
            raise argparse.ArgumentTypeError(f"{value} is no Python value; write it like {{'a': 1}}") from None
        return name, value


def split_settings(text: str) -> list[str]:
    """The settings of SET, which stand apart by spaces; what stands in brackets or quotes may hold spaces and more."""
    found, depth, quote = [""], 0, ""
    for before, letter in zip(f" {text}", text, strict=False):
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "\"'" and (depth or before == "="):
            quote = letter
        else:
            depth += (letter in "{[(") - (letter in ")]}")
        if letter.isspace() and not quote and depth <= 0:
            found.append("")
        else:
            found[-1] += letter
    return list(filter(None, found))


def workspace_of(repository: str, chosen: str) -> Path:
    """The chosen folder, else workspace/NAME for the repository."""
    if chosen:
        return Path(chosen)
    name = re.sub(r"(\.git)?/*$", "", repository).rsplit("/", 1)[-1].rsplit(":", 1)[-1]
    return Path("workspace") / (re.sub(r"[^\w.-]", "-", name) or "project")


def execute(name: str, values: dict[str, Any], folder: Path) -> bool:
    """Run one notebook in `folder`; False, with one message, when a cell fails."""
    notebook = with_parameters(nbformat.read(HERE / f"{name}.ipynb", as_version=4), values)
    began = time.perf_counter()
    print(f"\n=== {name}", flush=True)
    client = Streaming(
        notebook,
        timeout=None,
        kernel_name="python3",
        resources={"metadata": {"path": str(HERE.parent)}},
        coalesce_streams=True,  # a progress bar stays one line
        extra_arguments=["--log-level=40"],  # the kernel's own warnings are about servers, not about this
    )
    try:
        client.execute()
        return True
    except CellExecutionError as error:
        # A SetupError is the user's to put right: its message says all. Anything else is ours: show where.
        message = ANSI.sub("", error.evalue if error.ename == "SetupError" else str(error))
        print(f"\n{name} stopped: {message}", file=sys.stderr)
        return False
    finally:
        folder.mkdir(parents=True, exist_ok=True)
        nbformat.write(notebook, folder / f"{name}.ipynb")
        print(f"=== {name}: {time.perf_counter() - began:.0f} s", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description="Execute the four notebooks in order.")
    parser.add_argument("--repository", default="sample")
    parser.add_argument("--model", default="")
    parser.add_argument("--workspace", default="")
    parser.add_argument("--set", nargs="*", type=setting, default=[], metavar="NAME=VALUE", dest="settings")
    parser.add_argument("--only", nargs="*", choices=NAMES, default=NAMES, help="some of the notebooks")
    args = parser.parse_args()
    try:
        args.settings += [setting(text) for text in split_settings(os.environ.get("SET", ""))]
    except argparse.ArgumentTypeError as error:
        parser.error(f"SET: {error}")
    # A local repository is named from where the user stands; the notebooks run from the checkout's root.
    local = Path(args.repository).expanduser()
    repository = str(local.resolve()) if args.repository != "sample" and local.exists() else args.repository
    workspace = workspace_of(repository, args.workspace).resolve()
    values = {"repository": repository, "model": args.model, "workspace": str(workspace), **dict(args.settings)}
    known = set().union(*(parameters(nbformat.read(HERE / f"{n}.ipynb", as_version=4))[1] for n in NAMES))
    if unknown := sorted(set(values) - known):
        parser.error(f"no notebook has the setting {', '.join(unknown)}; there are: {', '.join(sorted(known))}")
    from ftlib.errors import SetupError
    from ftlib.workspace import open_workspace

    try:
        open_workspace(workspace)
    except SetupError as error:
        print(error, file=sys.stderr)
        return 1
    os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")  # silences a debugger's warning in every kernel
    began = time.perf_counter()
    for name in args.only:
        if not execute(name, values, workspace / "notebooks"):
            return 1
    evaluation = workspace / "evals" / str(values.get("run_name", "first"))
    if "04_eval" in args.only:
        print(f"\nFour notebooks in {time.perf_counter() - began:.0f} s. Report: {evaluation / 'report.html'}")
        print(json.loads((evaluation / "results.json").read_text(encoding="utf-8"))["verdict"]["line"])
    return 0


if __name__ == "__main__":
    sys.exit(main())
