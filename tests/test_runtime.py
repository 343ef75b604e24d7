"""ftlib.runtime: secrets from three places, shown in none; what the machine is."""

import os
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from ftlib import runtime

NAME, VALUE = "FTLIB_TEST_KEY", "sk-do-not-show-me"
COLAB_ERRORS = ("SecretNotFoundError", "NotebookAccessError", "TimeoutException")


@pytest.fixture(autouse=True)
def no_secret(monkeypatch):
    monkeypatch.delenv(NAME, raising=False)


@pytest.fixture
def colab(monkeypatch):
    """A google.colab whose answer is set by the test, with the errors that the real one raises."""
    userdata = SimpleNamespace(asked=[], answer=VALUE)
    for error in COLAB_ERRORS:
        setattr(userdata, error, type(error, (Exception,), {}))

    def get(name):
        userdata.asked.append(name)
        if isinstance(userdata.answer, Exception):
            raise userdata.answer
        return userdata.answer

    userdata.get = get
    google, module = ModuleType("google"), ModuleType("google.colab")
    google.__path__ = []  # type: ignore[attr-defined]
    mounted: list[str] = []
    vars(module).update(userdata=userdata, drive=SimpleNamespace(mount=mounted.append), mounted=mounted)
    monkeypatch.setitem(sys.modules, "google", google)
    monkeypatch.setitem(sys.modules, "google.colab", module)
    return module


def shown(capsys) -> str:
    captured = capsys.readouterr()
    return captured.out + captured.err


# --- secrets ----------------------------------------------------------------------------------------------------------


def test_a_secret_from_the_environment_is_stripped_and_not_shown(monkeypatch, capsys):
    monkeypatch.setenv(NAME, f"  {VALUE}\n")
    assert runtime.secret(NAME, ask=True) == VALUE
    assert VALUE not in shown(capsys)


@pytest.mark.parametrize("value", [None, "", " \n"])
def test_no_secret(monkeypatch, value):
    if value is not None:
        monkeypatch.setenv(NAME, value)
    assert not runtime.in_colab()
    assert runtime.secret(NAME) is None


def test_the_environment_comes_before_colab(monkeypatch, colab):
    monkeypatch.setenv(NAME, "mine")
    assert runtime.secret(NAME) == "mine"
    assert colab.userdata.asked == []


def test_a_secret_from_colab(colab, capsys):
    colab.userdata.answer = f" {VALUE} "
    assert runtime.in_colab()
    assert runtime.secret(NAME) == VALUE
    assert colab.userdata.asked == [NAME]
    assert VALUE not in shown(capsys) and NAME not in os.environ


@pytest.mark.parametrize("answer", [None, "", "  "])
def test_an_empty_answer_of_colab_is_none(colab, answer):
    colab.userdata.answer = answer
    assert runtime.secret(NAME) is None


@pytest.mark.parametrize("error", COLAB_ERRORS)
def test_an_error_of_colab_is_no_secret(colab, capsys, error):
    colab.userdata.answer = getattr(colab.userdata, error)("details")
    assert runtime.secret(NAME) is None
    assert shown(capsys) == f"{NAME}: not from Colab's secrets ({error})\n"


def test_an_unknown_error_of_colab_is_not_swallowed(colab):
    colab.userdata.answer = RuntimeError("something else")
    with pytest.raises(RuntimeError, match="something else"):
        runtime.secret(NAME)


def test_a_prompt_is_the_last_resort(colab, monkeypatch, capsys):
    colab.userdata.answer = colab.userdata.SecretNotFoundError()
    monkeypatch.setattr("getpass.getpass", lambda prompt: f"{prompt.split()[0]}:{VALUE} ")
    assert runtime.secret(NAME, ask=True) == f"{NAME}:{VALUE}"
    assert VALUE not in shown(capsys)
    monkeypatch.setattr("getpass.getpass", lambda prompt: "")
    assert runtime.secret(NAME, ask=True) is None


# --- the machine ------------------------------------------------------------------------------------------------------


def test_workspaces_by_default(monkeypatch, colab):
    assert runtime.default_workspace() == Path("/content/ftlib")
    assert colab.mounted == []  # asks the user, so only on demand
    assert runtime.default_workspace(use_drive=True) == Path("/content/drive/MyDrive/ftlib")
    assert colab.mounted == ["/content/drive"]
    monkeypatch.delitem(sys.modules, "google.colab")
    assert runtime.default_workspace(use_drive=True) == Path("workspace")


def test_a_cpu_is_an_accelerator_of_last_resort():
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    machine = runtime.accelerator()
    assert (machine.kind, machine.count, machine.memory_gib) == ("cpu", 0, 0.0)
    assert machine.name == f"CPU, {torch.get_num_threads()} threads"
    flags = Path("/proc/cpuinfo").read_text()
    assert machine.bf16 == ("avx512_bf16" in flags or "amx_bf16" in flags)


def test_libraries_are_quiet_unless_told_otherwise(monkeypatch):
    monkeypatch.delenv("UNSLOTH_DISABLE_STATISTICS", raising=False)
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false")
    monkeypatch.setenv("HF_HUB_DISABLE_TELEMETRY", "1")
    runtime.quiet_libraries()
    assert os.environ["UNSLOTH_DISABLE_STATISTICS"] == "1"
    assert os.environ["TOKENIZERS_PARALLELISM"] == "false"
