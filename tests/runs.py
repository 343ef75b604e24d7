"""Finished runs for the tests of what is done with them."""

from __future__ import annotations

from ftlib.workspace import write_json, write_manifest


def make_run(folder, tiny_model, *, noise: float) -> None:
    """A finished run whose adapter does nothing (noise 0) or something (its B matrices are random)."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    model = get_peft_model(
        AutoModelForCausalLM.from_pretrained(tiny_model), LoraConfig(r=4, target_modules=["q_proj", "down_proj"])
    )
    torch.manual_seed(0)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=noise) if noise else torch.nn.init.zeros_(parameter)
    model.save_pretrained(folder / "adapter")
    write_json(folder / "settings.json", {"model": str(tiny_model)})
    write_manifest(folder, stage="03_train", settings={})
