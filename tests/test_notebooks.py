"""The committed notebooks: what every one must have, and what bad input ends in."""

from __future__ import annotations

import argparse
import ast
import builtins
import os
import subprocess
import sys
from importlib.util import find_spec
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
                assert all(hasattr(module, a.name) or find_spec(f"{node.module}.{a.name}") for a in node.names)
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
    text = """mixture_settings={"repeats": {"page_qa": 3}, "general": "a } b"} project="Bob's boats" owner=Bob's"""
    text += " dial=(0.5, 1)"
    assert dict(map(run.setting, run.split_settings(text))) == {
        "mixture_settings": {"repeats": {"page_qa": 3}, "general": "a } b"},
        "project": "Bob's boats",
        "owner": "Bob's",
        "dial": (0.5, 1),
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
