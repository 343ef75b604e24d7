"""The committed notebooks: what every one must have, and all four executed in order on the sample."""

from __future__ import annotations

import argparse
import ast
import builtins
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = ROOT / "notebooks"
NAMES = ("01_scrape", "02_synth", "03_train", "04_eval")
sys.path.insert(0, str(NOTEBOOKS))

import build  # noqa: E402
import run  # noqa: E402


def notebook(name):
    return nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)


def execute(*args, timeout=3600):
    """The runner as `make run` calls it; returns its exit status and output."""
    done = subprocess.run(
        [sys.executable, str(NOTEBOOKS / "run.py"), *args],
        capture_output=True,
        text=True,
        timeout=timeout,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )
    return done.returncode, done.stdout + done.stderr


# --- what every notebook must have ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_has_its_badge_table_install_cell_and_settings(name):
    cells = notebook(name).cells
    first, source = cells[0].source, "\n".join(cell.source for cell in cells if cell.cell_type == "code")
    assert f"/github/{build.repository()}/blob/main/notebooks/{name}.ipynb" in first
    assert "| reads | writes | time |" in first
    install = next(cell.source for cell in cells if "pip" in cell.source and cell.cell_type == "code")
    assert '"google.colab" in sys.modules' in install and "check=True" in install
    assert f"git+https://github.com/{build.repository()}" in install
    # Nothing is imported before the install cell is done.
    assert source.index("import subprocess") < source.index("from ftlib")
    assert sum("parameters" in cell.metadata.get("tags", []) for cell in cells) == 1
    assert {"workspace", "use_drive"} <= run.parameters(notebook(name))[1]
    assert all(not cell.get("outputs") and cell.get("execution_count") is None for cell in cells if "outputs" in cell)


@pytest.mark.parametrize("name", NAMES)
def test_every_name_in_a_notebook_is_bound_and_every_import_exists(name):
    tree = ast.parse("\n".join(cell.source for cell in notebook(name).cells if cell.cell_type == "code"))
    bound = set(dir(builtins))
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            bound |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ftlib"):
                module = __import__(node.module or "", fromlist=["_"])
                assert all(
                    hasattr(module, a.name) or (Path(str(module.__file__)).parent / f"{a.name}.py").is_file()
                    for a in node.names
                )
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            bound.add(node.id)
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    assert used <= bound


def test_a_fork_gets_its_own_links():
    text = (NOTEBOOKS / "01_scrape.py").read_text()
    forked = build.LINKS.sub("someone/else", text)
    assert forked.count("someone/else") == 2 == text.count(build.repository())
    assert build.LINKS.sub(build.repository(), forked) == text


def test_the_check_sees_a_notebook_that_is_out_of_step(tmp_path):
    source = tmp_path / "01_scrape.py"
    source.write_text((NOTEBOOKS / "01_scrape.py").read_text())
    made = build.generate(source)
    assert made == build.generate(source) == (NOTEBOOKS / "01_scrape.ipynb").read_bytes()
    source.write_text(source.read_text() + "\n# %%\nprint('more')\n")
    assert build.generate(source) != made


def test_parameters_are_put_behind_the_settings_cell():
    filled = run.with_parameters(notebook("01_scrape"), {"repository": "a'b", "run_name": "not of this notebook"})
    index, _ = run.parameters(filled)
    assert filled.cells[index + 1].source == 'repository = "a\'b"'


@pytest.mark.parametrize(
    ("repository", "name"),
    [("a/b", "b"), ("https://x.org/a/b.git", "b"), ("git@x.org:b.git", "b"), ("/p/q.git/", "q"), ("sample", "sample")],
)
def test_each_repository_has_its_own_workspace(repository, name):
    assert run.workspace_of(repository, "") == Path("workspace") / name


def test_settings_keep_their_types_and_quotes():
    text = (
        """max_steps=20 run_name=trial date=2023-12-21 eval_settings={"questions_limit": 6, 'recall_items': 2} empty="""
    )
    assert dict(map(run.setting, run.split_settings(text))) == {
        "max_steps": 20,
        "run_name": "trial",
        "date": "2023-12-21",
        "eval_settings": {"questions_limit": 6, "recall_items": 2},
        "empty": "",
    }
    for wrong in ("eval_settings={a:1}", "noequals", "a-b=1"):
        with pytest.raises(argparse.ArgumentTypeError):
            run.setting(wrong)


# --- bad input: one clear message -------------------------------------------------------------------------------------


def empty_repository(folder):
    subprocess.run(["git", "init", "-q", str(folder)], check=True)
    return folder


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--repository", "{tmp}/nowhere", "--only", "01_scrape"], "nowhere"),
        (["--repository", "{empty}", "--only", "01_scrape"], "no commit"),
        (["--only", "01_scrape", "--set", "date=1999-01-01"], "history starts on"),
        (["--only", "01_scrape", "--model", "no-one/no-model"], "no-one/no-model"),
        (["--only", "03_train"], "Run notebook 01_scrape first"),
        (["--only", "04_eval"], "Run notebook 01_scrape first"),
        (["--workspace", "{tmp}/file/space"], "can't be written"),
        (["--set", "max_step=3"], "max_step"),
    ],
)
def test_bad_input_ends_in_one_clear_message(tmp_path, args, message):
    (tmp_path / "file").write_text("")
    empty = empty_repository(tmp_path / "empty")
    args = [arg.format(tmp=tmp_path, empty=empty) for arg in args]
    if "--workspace" not in args:
        args += ["--workspace", str(tmp_path / "space")]
    status, output = execute(*args)
    assert status != 0
    assert message in output
    assert "Traceback" not in output


# --- the whole way ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "space"
    status, output = execute("--workspace", str(folder))
    assert status == 0, output[-4000:]
    return folder, output


@pytest.mark.notebooks
def test_the_notebooks_run_and_the_tuned_model_has_learned(finished):
    folder, output = finished
    results = json.loads((folder / "evals/first/results.json").read_text())
    sets = results["sets"]
    assert output.rstrip().endswith(results["verdict"])
    assert str(folder / "evals/first/report.html") in output
    assert sets["trained"]["base"]["correct"] == 0
    assert sets["trained"]["tuned"]["correct"] >= sets["trained"]["n"] / 2
    # The goal, and what the report shows on the machine it was set on, is a loss of at most 1. Greedy answers of so
    # small a model differ from one kind of CPU to another; without the general chats in the mixture it is 9.
    assert sets["general"]["tuned"]["correct"] >= sets["general"]["base"]["correct"] - 4
    for kind in ("chat", "raw"):
        assert results["loss"][kind]["tuned"]["loss"] < results["loss"][kind]["base"]["loss"]


@pytest.mark.notebooks
def test_what_was_planned_was_trained_and_saved(finished):
    folder, _ = finished
    run_folder = folder / "runs/first"
    manifest = json.loads((run_folder / "manifest.json").read_text())
    audit = json.loads((run_folder / "audit.json").read_text())
    resolved = json.loads((run_folder / "resolved.json").read_text())
    assert manifest["counts"]["tokens"] == sum(row["tokens"] for row in audit)
    assert sum(row["dropped"] + row["truncated"] for row in audit) == 0
    assert resolved["learning_rate"] == manifest["settings"]["train"]["learning_rate"]
    assert resolved["lora"]["r"] == 64 and len(resolved["lora"]["target_modules"]) == 7
    assert (run_folder / "adapter/adapter_model.safetensors").stat().st_size > 1_000_000
    assert not (run_folder / "checkpoints").exists()
    log = [json.loads(line) for line in (run_folder / "log.jsonl").read_text().splitlines()]
    assert len(log) == manifest["counts"]["steps"]


@pytest.mark.notebooks
def test_no_planted_secret_left_the_repository(finished):
    from ftlib import sample

    folder, _ = finished
    secrets = [value.encode() for value in sample.planted_secrets().values()]
    written = [path for path in folder.rglob("*") if path.is_file() and "clones" not in path.relative_to(folder).parts]
    assert len(written) > 15
    for path in written:
        content = path.read_bytes()
        assert not any(secret in content for secret in secrets), path.name


@pytest.mark.notebooks
def test_no_executed_notebook_shows_an_error_or_a_warning_of_ours(finished):
    folder, _ = finished
    for name in NAMES:
        for cell in nbformat.read(folder / "notebooks" / f"{name}.ipynb", as_version=4).cells:
            for output in cell.get("outputs", []):
                assert output.output_type != "error"
                assert not re.search(r"ftlib.*Warning", output.get("text", ""))


@pytest.mark.notebooks
def test_a_second_run_does_nothing_again(finished):
    folder, _ = finished
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*manifest.json")}
    status, output = execute("--workspace", str(folder))
    assert status == 0
    assert output.count("up to date") == 4
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*manifest.json")} == before
