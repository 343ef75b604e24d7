"""All four committed notebooks, executed in order on the sample: minutes, so that they have a file of their own."""

from __future__ import annotations

import json
import re

import nbformat
import pytest
from test_notebooks import NAMES, execute

from ftlib.models import DEMO
from ftlib.runtime import accelerator
from ftlib.settings import default_synth
from ftlib.workspace import read_jsonl, read_manifest

pytestmark = pytest.mark.notebooks


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "space"
    status, output = execute("--workspace", str(folder))
    assert status == 0, output[-4000:]
    return folder, output


def test_the_notebooks_run_and_the_tuned_model_has_learned(finished):
    folder, output = finished
    results = json.loads((folder / "evals/first/results.json").read_text())
    sets = results["sets"]
    assert output.rstrip().endswith(results["verdict"]["line"])
    assert str(folder / "evals/first/report.html") in output
    right = {
        name: [found[arm]["correct"]["count"] for arm in ("base", "tuned")]
        for name, found in sets.items()
        if name != "changed"
    }
    assert right["trained"][0] == 0
    assert right["trained"][1] >= sets["trained"]["n"] / 2
    assert right["paraphrases"][1] >= sets["paraphrases"]["n"] / 4  # with one wording of each question it was 1 of 12
    assert results["verdict"]["checks"][0]["result"] == "PASS"
    # Greedy answers of so small a model differ between kinds of CPU: 10 of 24 where this was written, base 12; 7 where
    # it was not held to its base.
    assert right["general"][0] >= 9
    assert right["general"][1] >= right["general"][0] - 4
    assert results["noise"]["differ"] == 0  # in fp32 an answer does not depend on its batch
    for kind in ("chat", "raw"):
        assert results["loss"][kind]["tuned"]["loss"] < results["loss"][kind]["base"]["loss"]


def test_02_synth_wrote_what_the_embedded_model_needs(finished):
    folder, _ = finished
    manifest = read_manifest(folder / "chats.jsonl") or {}
    documents = sum(1 for _ in read_jsonl(folder / "documents.jsonl"))
    wanted = default_synth(DEMO, accelerator(), documents)
    assert {name: manifest["settings"][name] for name in wanted} == wanted
    chats = manifest["counts"]["chats"]
    assert chats["unknown"] == wanted["unknown_chats"] > 0 and chats["page_qa"] == 24 * 7


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


def test_no_planted_secret_left_the_repository(finished):
    from ftlib import sample

    folder, _ = finished
    secrets = [value.encode() for value in sample.planted_secrets().values()]
    written = [path for path in folder.rglob("*") if path.is_file() and "clones" not in path.relative_to(folder).parts]
    assert len(written) > 15
    for path in written:
        content = path.read_bytes()
        assert not any(secret in content for secret in secrets), path.name


def test_no_executed_notebook_shows_an_error_or_a_warning_of_ours(finished):
    folder, _ = finished
    for name in NAMES:
        for cell in nbformat.read(folder / "notebooks" / f"{name}.ipynb", as_version=4).cells:
            for output in cell.get("outputs", []):
                assert output.output_type != "error"
                assert not re.search(r"ftlib.*Warning", output.get("text", ""))


def test_a_second_run_does_nothing_again(finished):
    folder, _ = finished
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*manifest.json")}
    status, output = execute("--workspace", str(folder))
    assert status == 0
    assert output.count("up to date") == 4
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*manifest.json")} == before
