"""ftlib imports in a blink and without the packages of the extras: a notebook's install cell may still be running."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import ftlib

HEAVY = ["torch", "transformers", "trl", "peft", "datasets", "unsloth", "unsloth_zoo", "accelerate"]
HEAVY += ["matplotlib", "pandas", "numpy"]

# Imports every module of ftlib in a fresh process; prints its name and seconds, and what was asked for in vain.
IMPORT_ALL = """
import importlib, json, pkgutil, sys, time

heavy, asked = sys.argv[1].split(), []

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in heavy:
            asked.append(name)
            raise ModuleNotFoundError(f"No module named {name!r} (blocked)", name=name)

sys.meta_path.insert(0, Blocked())
began, names = time.perf_counter(), ["ftlib"]
import ftlib
for module in pkgutil.walk_packages(ftlib.__path__, "ftlib."):
    importlib.import_module(module.name)
    names.append(module.name)
seconds = time.perf_counter() - began
print(json.dumps({"names": names, "seconds": seconds, "asked": asked, "loaded": sorted(sys.modules)}))
"""


def import_all():
    # As after any first import, the modules are compiled: a setting that leaves no bytecode would be what is measured.
    env = {**os.environ, "PYTHONPATH": str(Path(ftlib.__file__).parents[1]), "PYTHONDONTWRITEBYTECODE": ""}
    command = [sys.executable, "-c", IMPORT_ALL, " ".join(HEAVY)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_every_module_imports_quickly_and_without_the_extras():
    found = [import_all()]
    # What else runs on the machine makes it slower, never faster: the best try is what it takes.
    while found[-1]["seconds"] >= 0.3 and len(found) < 20:
        time.sleep(1)
        found.append(import_all())
    root = Path(ftlib.__file__).parent
    files = {
        ".".join(("ftlib", *path.relative_to(root).with_suffix("").parts)).removesuffix(".__init__")
        for path in root.rglob("*.py")
        if "data" not in path.parts
    }
    assert set(found[0]["names"]) == files
    assert found[0]["asked"] == []
    assert not set(HEAVY) & set(found[0]["loaded"])
    assert found[-1]["seconds"] < 0.3


def test_a_module_that_needs_an_extra_is_found_out(tmp_path):
    """The test above would notice: its blocker does block."""
    (tmp_path / "numpy.py").write_text("")
    code = IMPORT_ALL.replace("import ftlib\n", "import ftlib\nimport numpy\n")
    env = {**os.environ, "PYTHONPATH": f"{Path(ftlib.__file__).parents[1]}{os.pathsep}{tmp_path}"}
    done = subprocess.run([sys.executable, "-c", code, "numpy"], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "No module named 'numpy' (blocked)" in done.stderr
