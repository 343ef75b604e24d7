"""ftlib.workspace: files that are whole or absent, and manifests that say what is finished."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ftlib import workspace as ws
from ftlib.errors import SetupError
from ftlib.workspace import open_workspace, read_jsonl, write_jsonl, write_manifest


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# --- files ------------------------------------------------------------------------------------------------------------


def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(tmp_path):
    target = tmp_path / "rows.jsonl"
    write_jsonl(target, [{"id": 1}])

    def rows():
        yield {"id": 2}
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_jsonl(target, rows())
    assert target.read_text() == '{"id": 1}\n'
    assert names(tmp_path) == ["rows.jsonl"]


def test_a_write_takes_the_name_only_at_its_end(tmp_path):
    target = tmp_path / "new" / "file.bin"
    with ws.atomic_write(target, "wb") as out:
        out.write(b"\r\n\x00")
        assert not target.exists()
    assert target.read_bytes() == b"\r\n\x00"
    assert target.stat().st_mode & 0o777 == 0o644
    assert names(target.parent) == ["file.bin"]


def test_rows_come_back_as_they_were(tmp_path):
    rows: list[dict[str, Any]] = [
        {"text": "é😀\r\n\x00\u2028 \ue000"},
        {"messages": [{"role": "user", "content": "x"}], "n": None},
    ]
    assert write_jsonl(tmp_path / "rows.jsonl", iter(rows)) == 2
    assert list(read_jsonl(tmp_path / "rows.jsonl")) == rows
    assert (tmp_path / "rows.jsonl").read_bytes().count(b"\n") == 2


def test_rows_edited_by_hand(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"id": 1}\r\n\r\n  {"id": 2}')
    assert list(read_jsonl(path)) == [{"id": 1}, {"id": 2}]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"id": 2', "not valid JSON"),
        (b'{"id": "\xe9"}', "not valid JSON"),  # Latin-1
        (b"[1, 2]", "a JSON object was expected, found list"),
        (b"null", "a JSON object was expected, found NoneType"),
    ],
)
def test_a_bad_row_is_named_by_file_and_line(tmp_path, line, reason):
    path = tmp_path / "chats.jsonl"
    path.write_bytes(b'{"id": 1}\n\n' + line + b'\n{"id": 3}\n')
    rows = read_jsonl(path)
    assert next(rows) == {"id": 1}
    with pytest.raises(SetupError, match=reason) as caught:
        next(rows)
    assert f"{path}, line 3" in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(SetupError, match=r"nothing\.jsonl does not exist"):
        list(read_jsonl(tmp_path / "nothing.jsonl"))


def test_plain_values():
    @dataclass(frozen=True)
    class Settings:
        where: Path
        kinds: tuple[str, ...]
        names: frozenset[str]

    value = {"settings": Settings(Path("a") / "b", ("x", "y"), frozenset({"q", "p"})), 3: None}
    assert ws.plain(value) == {"settings": {"where": "a/b", "kinds": ["x", "y"], "names": ["p", "q"]}, "3": None}


# --- the folder -------------------------------------------------------------------------------------------------------


def test_a_workspace_is_made_with_its_parents(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    made = open_workspace("~/a/b")
    assert made.root == tmp_path / "a" / "b"
    assert made.root.is_dir() and not names(made.root)
    assert open_workspace(made.root) == made


def test_a_workspace_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "loop").symlink_to("loop")
    for root in (tmp_path / "file" / "below", tmp_path / "file", "/proc/ftlib", tmp_path / "loop", "~nobody-here/x"):
        with pytest.raises(SetupError, match="can't be written") as caught:
            open_workspace(root)
        assert str(root) in str(caught.value)
        assert "Set `workspace`" in str(caught.value)


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../up",
        "/etc",
        "a/b",
        "a\\b",
        "C:x",
        "a\0b",
        "a\nb",
        "a\x1b[31m",
        " a",
        "a ",
        "x" * 300,
        "\ud800",
    ],
)
def test_hostile_run_names(workspace, name):
    for path in (workspace.run, workspace.eval):
        with pytest.raises(SetupError, match="can't be the name of a run"):
            path(name)


@pytest.mark.parametrize("name", ["mistral-r512-All-Data", "v1.2_é", "...x", "-"])
def test_run_names(workspace, name):
    assert workspace.run(name) == workspace.root / "runs" / name
    assert workspace.eval(name) == workspace.root / "evals" / name
    assert workspace.run(name).resolve().parent == workspace.root / "runs"


# --- manifests --------------------------------------------------------------------------------------------------------


def finish(workspace, settings=None, text="a document"):
    write_jsonl(workspace.documents, [{"id": "1", "text": text}])
    return write_manifest(workspace.documents, stage="01_scrape", settings=settings or {"limit": 3})


def finish_chats(workspace, settings=None):
    write_jsonl(workspace.chats, [{"id": "c"}])
    inputs = {"documents": workspace.documents}
    return write_manifest(workspace.chats, stage="02_synth", settings=settings or {"model": "m"}, inputs=inputs)


def test_a_manifest_says_what_was_made_of_what(workspace):
    finish(workspace)
    counts, packages = {"chats": 1}, ("pytest", "no-such-package")
    write_jsonl(workspace.chats, [{"id": "c"}])
    inputs = {"documents": workspace.documents}
    written = write_manifest(
        workspace.chats,
        stage="02_synth",
        settings={"share": 0.1},
        inputs=inputs,
        counts=counts,
        packages=packages,
        by="me",
    )
    assert ws.manifest_path(workspace.chats) == workspace.root / "chats.manifest.json"
    assert ws.read_manifest(workspace.chats) == written
    assert written == {
        "stage": "02_synth",
        "version": ws.__version__,
        "settings": {"share": 0.1},
        "inputs": {"documents": ws.file_hash(workspace.documents)},
        "output": ws.file_hash(workspace.chats),
        "counts": {"chats": 1},
        "packages": {"pytest": pytest.__version__},
        "by": "me",
    }


def test_a_folder_holds_its_own_manifest(workspace):
    run = workspace.run("first")
    run.mkdir(parents=True)
    assert not ws.is_done(run, settings={})
    assert write_manifest(run, stage="03_train", settings={})["output"] is None
    assert names(run) == ["manifest.json"]
    assert ws.is_done(run, settings={})


def test_done_needs_equal_settings_inputs_and_version(workspace, monkeypatch, capsys):
    def done(settings):
        return ws.is_done(workspace.chats, settings=settings, inputs={"documents": workspace.documents})

    settings = {"kinds": ("page_qa", "yours"), "folder": Path("x")}
    finish(workspace)
    assert not done(settings)
    finish_chats(workspace, settings)
    assert not capsys.readouterr().out
    assert done(settings)
    assert capsys.readouterr().out.startswith("02_synth: chats.jsonl is up to date (delete chats.manifest.json")
    assert not done({**settings, "kinds": ("page_qa",)})
    assert not ws.is_done(workspace.chats, settings=settings)  # other inputs
    monkeypatch.setattr(ws, "__version__", "0.0.0-other")
    assert not done(settings)
    monkeypatch.undo()
    finish(workspace, text="changed")
    assert not done(settings)
    finish(workspace)
    assert done(settings)
    workspace.chats.unlink()
    assert not done(settings)


def test_an_edited_output_is_kept_and_said_to_be(workspace, capsys):
    finish(workspace)
    workspace.documents.write_text('{"id": "mine"}\n')
    assert ws.is_done(workspace.documents, settings={"limit": 3})
    assert "it was edited since and is kept so" in capsys.readouterr().out
    assert workspace.documents.read_text() == '{"id": "mine"}\n'


def test_a_broken_manifest_is_named(workspace):
    finish(workspace)
    path = ws.manifest_path(workspace.documents)
    path.write_text(path.read_text()[:40])
    with pytest.raises(SetupError, match=r"documents\.manifest\.json is not valid JSON") as caught:
        ws.is_done(workspace.documents, settings={"limit": 3})
    assert "Delete it" in str(caught.value)


def test_require_names_the_notebook_to_run(workspace):
    with pytest.raises(SetupError, match=r"documents\.jsonl is missing in .*Run notebook 01_scrape first"):
        ws.require(workspace, "documents", "chats")
    finish(workspace)
    ws.require(workspace, "documents")
    with pytest.raises(SetupError, match=r"chats\.jsonl is missing in .*Run notebook 02_synth first"):
        ws.require(workspace, "documents", "chats")
    finish_chats(workspace)
    ws.require(workspace, "documents", "chats")


def test_require_refuses_unfinished_work(workspace):
    finish(workspace)
    ws.manifest_path(workspace.documents).unlink()
    with pytest.raises(SetupError, match=r"documents\.jsonl has no manifest .*Run notebook 01_scrape"):
        ws.require(workspace, "documents")


def test_require_refuses_work_on_other_inputs(workspace):
    finish(workspace)
    finish_chats(workspace)
    finish(workspace, text="changed")
    ws.require(workspace, "documents")
    with pytest.raises(SetupError, match=r"made from another documents\.jsonl .*Run notebook 02_synth again"):
        ws.require(workspace, "chats")


def test_manifests_are_written_by_rename(workspace):
    finish(workspace)
    before = ws.manifest_path(workspace.documents).read_text()
    with pytest.raises(TypeError):
        write_manifest(workspace.documents, stage="01_scrape", settings={"limit": object()})
    assert ws.manifest_path(workspace.documents).read_text() == before
    assert json.loads(before)["stage"] == "01_scrape"
    assert names(workspace.root) == ["documents.jsonl", "documents.manifest.json"]
