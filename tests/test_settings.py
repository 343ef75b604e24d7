"""What the stages are set to for the model to train."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ftlib import models
from ftlib.runtime import Accelerator
from ftlib.settings import changed, default_config, default_mixture, default_synth
from ftlib.synth.config import SynthConfig, check

CPU = Accelerator("cpu", "CPU", 0.0, 1, False)
CARD = Accelerator("cuda", "A card", 80.0, 1, True)


@pytest.mark.parametrize("machine", [CPU, CARD], ids=["cpu", "cuda"])
@pytest.mark.parametrize("name", [models.RECIPE_MODEL, "owner/some-model", "/a/folder"])
def test_other_models_get_the_articles_chats(name, machine):
    found = default_synth(name, machine, 5000)
    assert found == {"snapshot_tokens": default_config(name, machine).max_length}
    config = changed(SynthConfig(), found)
    assert (config.snapshot_wordings, config.unknown_chats) == (1, 0)


@pytest.mark.parametrize("machine", [CPU, CARD, replace(CARD, bf16=False)], ids=["cpu", "cuda", "no-bf16"])
@pytest.mark.parametrize("documents, unknown", [(0, 0), (1, 1), (49, 49), (600, 600), (601, 600), (90_000, 600)])
def test_the_embedded_model_gets_wordings_and_as_many_unknown_chats_as_documents(machine, documents, unknown):
    found = default_synth(models.DEMO, machine, documents)
    assert found["unknown_chats"] == unknown and found["paraphrases"] > 1
    assert (found["snapshot_wordings"] > 1) == (machine.kind == "cuda")  # a CPU has no time for them
    assert found["snapshot_tokens"] == default_mixture(default_config(models.DEMO, machine)).max_length
    check(changed(SynthConfig(), found))
