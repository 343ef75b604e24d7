"""What the stages are set to for the model to train."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ftlib import models
from ftlib.runtime import Accelerator
from ftlib.settings import changed, default_config, default_mixture, default_synth
from ftlib.synth.config import SynthConfig, check
from ftlib.synth.recited import SNAPSHOTS

CPU = Accelerator("cpu", "CPU", 0.0, 1, False)
CARD = Accelerator("cuda", "A card", 80.0, 1, True)


@pytest.mark.parametrize("machine", [CPU, CARD], ids=["cpu", "cuda"])
@pytest.mark.parametrize("name", [models.RECIPE_MODEL, "owner/some-model", "/a/folder"])
def test_other_models_get_the_articles_chats(name, machine):
    found = default_synth(name, machine, 5000)
    assert found == {"snapshot_tokens": default_config(name, machine).max_length}
    config = changed(SynthConfig(), found)
    assert (config.snapshot_wordings, config.unknown_chats) == (1, 0)


def test_the_embedded_model_is_held_to_its_base_where_there_is_a_card():
    """A file is seen as often as in the trial of docs/results.md, over all its wordings."""
    config = default_config(models.DEMO, CARD)
    mixing = default_mixture(config)
    assert config.precision == "bf16" and config.packing and config.hold_strength > 0
    assert mixing.replay_tokens > 0 and mixing.loss_on == "assistant" and mixing.max_length == config.max_length
    wordings = default_synth(models.DEMO, CARD, 100)["snapshot_wordings"]
    assert mixing.repeats["file_snapshot"] * wordings == 36
    on_cpu = default_config(models.DEMO, CPU)
    small = default_mixture(on_cpu)
    assert on_cpu.hold_strength == config.hold_strength and set(small.repeats) <= set(mixing.repeats)
    assert 0 < small.replay_tokens < mixing.replay_tokens / 100  # minutes on a CPU
    article = default_mixture(default_config(models.RECIPE_MODEL, CARD))
    assert not article.replay_tokens and not article.repeats and article.loss_on == "all"


@pytest.mark.parametrize("machine", [CPU, CARD, replace(CARD, bf16=False)], ids=["cpu", "cuda", "no-bf16"])
@pytest.mark.parametrize("documents, unknown", [(0, 0), (1, 4), (49, 196), (600, 2400), (601, 2400), (90_000, 2400)])
def test_the_embedded_model_gets_wordings_and_unknown_chats_by_the_number_of_documents(machine, documents, unknown):
    found = default_synth(models.DEMO, machine, documents)
    unknown = min(documents // 4, 600) if machine.kind == "cpu" else unknown
    assert found["unknown_chats"] == unknown and found["paraphrases"] > 1
    assert (found["snapshot_wordings"] > 1) == (machine.kind == "cuda")  # a CPU has no time for them
    assert found["snapshot_wordings"] <= len(SNAPSHOTS)
    assert found["snapshot_tokens"] == default_mixture(default_config(models.DEMO, machine)).max_length
    check(changed(SynthConfig(), found))
