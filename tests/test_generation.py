"""Answers by many at a time are those of `model.generate` with one prompt, whatever stands beside them."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch

from ftlib import generation, kv_cache
from ftlib.errors import SetupError
from ftlib.generation import answers, decode, generate
from ftlib.inference import arm
from ftlib.sampling import nucleus

pytestmark = pytest.mark.usefixtures("one_thread")
VOCABULARY, LIMIT = 101, 24
STOPS = list(range(3, VOCABULARY, 10))
SHAPE: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 1024,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 0,
    "initializer_range": 0.4,  # so that an answer does depend on what it sees, and on where
}
HYBRID = {"layer_types": ["conv", "full_attention"], "block_auto_adjust_ff_dim": False, "conv_L_cache": 3}
ROPE = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0}
LONG_ROPE = {
    "rope_type": "longrope",
    "rope_theta": 10000.0,
    "short_factor": [1.0] * 4,
    "long_factor": [3.0] * 4,
    "original_max_position_embeddings": 50,
}
WINDOW = {"sliding_window": 6, "layer_types": ["sliding_attention", "full_attention"]}
# Each has something of its own that a shared batch could break.
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("Llama", {}),
    "window": ("Mistral", {"sliding_window": 6}),
    "two kinds of layer": ("Gemma3", {**WINDOW, "query_pre_attn_scalar": 8}),
    "learned positions": ("GPT2", {"max_position_embeddings": 400 + LIMIT}),
    "changing rotary table": ("Llama", {"rope_parameters": ROPE, "max_position_embeddings": 50}),
    "two rotary tables": ("Phi3", {"rope_parameters": LONG_ROPE}),
    "states beside the cache": ("Lfm2", HYBRID),
}


def make(kind="llama"):
    import transformers

    name, changed = KINDS[kind]
    config = getattr(transformers, f"{name}TextConfig" if name == "Gemma3" else f"{name}Config")(**SHAPE | changed)
    torch.manual_seed(0)
    return getattr(transformers, "GPT2LMHeadModel" if name == "GPT2" else f"{name}ForCausalLM")(config).eval()


@pytest.fixture(scope="module")
def model():
    """A Llama with an adapter that does a lot."""
    from peft import LoraConfig, get_peft_model

    tuned = get_peft_model(make(), LoraConfig(r=4, target_modules="all-linear"))
    for name, parameter in tuned.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    return tuned.eval()


def prompts(number, longest=40, seed=0):
    chance = random.Random(seed)
    return [[chance.randrange(VOCABULARY) for _ in range(chance.randint(1, longest))] for _ in range(number)]


def alone(model, prompt, limit=LIMIT, stops=STOPS):
    """The reference: transformers, one prompt."""
    ids = torch.tensor([prompt])
    with torch.no_grad():
        out = model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=limit,
            do_sample=False,
            repetition_penalty=1.0,
            eos_token_id=stops,
            pad_token_id=0,
        )
    return out[0, len(prompt) :].tolist()


def ids(model, asked, stops=STOPS, **options):
    found = dict(decode(model, asked, stops, **{"max_new_tokens": LIMIT, **options}))
    return [found[number]["ids"] for number in range(len(asked))]


class Watched:
    """A model whose forward passes are counted: `shapes` are rows, new columns and all columns of each.

    With a `card` of so many tokens, it is full where rows times columns are more.
    """

    def __init__(self, model, card=None):
        self.model, self.card, self.shapes, self.full = model, card, [], 0

    def __getattr__(self, name):
        return getattr(self.model, name)

    def __call__(self, **inputs):
        assert not torch.is_grad_enabled()  # or every step would be kept for a backward pass
        assert not torch.backends.cuda.cudnn_sdp_enabled()  # it makes a plan for each length, 60 ms a step on an H100
        shape = (*inputs["input_ids"].shape, inputs["attention_mask"].shape[1])
        if self.card is not None and shape[0] * shape[2] > self.card:
            self.full += 1
            raise torch.OutOfMemoryError("CUDA out of memory.")
        self.shapes.append(shape)
        return self.model(**inputs)


# --- exactness --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["base", "tuned"])
def test_answers_are_those_of_one_prompt_whatever_is_beside_it(model, name):
    # Very short ones, and one that is a hundred times as long.
    asked = [*prompts(22), prompts(1, 400, seed=5)[0], [5] * 400, [3], [4, 9]]
    with arm(model, name):
        expected = [alone(model, prompt) for prompt in asked]
        assert len({len(answer) for answer in expected}) > 1 and min(map(len, expected)) < LIMIT
        for options in (
            {},
            {"batch_size": 1},
            {"batch_size": 3},
            {"batch_size": 9},
            {"token_budget": 1},
            {"token_budget": 300},
            {"token_budget": 2000, "batch_size": 16},
        ):
            assert ids(model, asked, **options) == expected, options
        backwards = ids(model, asked[::-1], batch_size=5)
    assert backwards[::-1] == expected


def test_the_two_arms_answer_differently(model):
    asked = prompts(6)
    with arm(model, "base"):
        base = ids(model, asked)
    assert base != ids(model, asked)


@pytest.mark.parametrize("kind", KINDS)
def test_other_models(kind):
    model = make(kind)
    asked = [*prompts(14), [5] * 400, [3], *prompts(2, 60, seed=9), [8] * 45]
    expected = [alone(model, prompt) for prompt in asked]
    assert len({tuple(answer) for answer in expected}) > 10  # the model does look at its prompt
    for options in ({}, {"batch_size": 4}):
        assert ids(model, asked, **options) == expected, options


def test_a_row_that_has_ended_goes_along_within_the_positions_of_the_model():
    model = make("learned positions")
    asked = [[5] * 415, *prompts(16)]
    limits = [9] + [LIMIT] * 16  # 415 + 9 is all that it has positions for
    found = dict(decode(model, asked, [], max_new_tokens=limits))
    for number, (prompt, limit) in enumerate(zip(asked, limits, strict=True)):
        assert found[number] == {"ids": alone(model, prompt, limit, stops=None), "ended": False}


def test_a_cache_wider_than_its_slack_and_narrow_passes(model, monkeypatch):
    asked = prompts(12)
    expected = [alone(model, prompt) for prompt in asked]
    monkeypatch.setattr(kv_cache, "SLACK", 3)
    monkeypatch.setattr(generation, "READ_TOKENS", 50)
    assert ids(model, asked) == expected == ids(model, asked, batch_size=5)


def test_limits_and_ends(model):
    asked = prompts(9)
    limits = [1, 2, 3, 5, 8, 13, 21, 24, 24]
    found = dict(decode(model, asked, STOPS, max_new_tokens=limits, batch_size=4))
    for number, (prompt, limit) in enumerate(zip(asked, limits, strict=True)):
        assert found[number] == {"ids": alone(model, prompt, limit), "ended": found[number]["ids"][-1] in STOPS}
        assert len(found[number]["ids"]) == limit or found[number]["ended"]
    assert {answer["ended"] for answer in found.values()} == {True, False}
    assert list(decode(model, [], STOPS, max_new_tokens=4)) == []
    # Every answer ends with its first token.
    for number, answer in decode(model, asked, range(VOCABULARY), max_new_tokens=4):
        assert answer == {"ids": alone(model, asked[number], 1), "ended": True}


def test_log_probabilities_are_those_of_one_pass_over_prompt_and_answer(model):
    asked = prompts(7)
    sampling = {"temperature": 2.0, "top_p": 0.5, "seed": 1}
    for chosen in (None, sampling):
        for number, found in decode(
            model, asked, STOPS, max_new_tokens=12, batch_size=3, logprobs=True, sampling=chosen
        ):
            prompt, answer = asked[number], found["ids"]
            with torch.no_grad():
                logits = model(input_ids=torch.tensor([prompt + answer])).logits[0, len(prompt) - 1 : -1]
            expected = logits.log_softmax(-1)[torch.arange(len(answer)), torch.tensor(answer)]
            torch.testing.assert_close(torch.tensor(found["logprobs"]), expected, atol=1e-4, rtol=1e-4)


# --- how many at a time -----------------------------------------------------------------------------------------------


def test_rows_that_end_give_way_and_few_steps_are_taken(model):
    asked = prompts(60)
    expected = [alone(model, prompt) for prompt in asked]
    together = Watched(model)
    assert ids(together, asked) == expected
    assert len(together.shapes) <= LIMIT + 1
    # Eight at a time: as many steps as the tokens need with few places empty, not the longest of each eight.
    some = Watched(model)
    assert ids(some, asked, batch_size=8) == expected
    steps = [shape for shape in some.shapes if shape[1] == 1]
    groups = sorted(range(60), key=lambda n: len(asked[n]))
    fixed = sum(max(len(expected[n]) for n in groups[at : at + 8]) for at in range(0, 60, 8))
    assert sum(map(len, expected)) / 8 <= len(steps) < 0.75 * fixed
    assert max(rows for rows, *_ in some.shapes) == 8


def test_the_budget_bounds_rows_times_columns(model):
    asked = prompts(40)
    watched = Watched(model)
    ids(watched, asked, token_budget=500)
    assert 250 < max(rows * columns for rows, _, columns in watched.shapes) <= 500
    # One that is over it is asked alone.
    watched = Watched(model)
    ids(watched, [*asked, [5] * 400], token_budget=400)
    assert {rows for rows, _, columns in watched.shapes if columns >= 400} == {1}


def test_where_no_budget_is_given_half_of_the_free_memory_is_taken(model, monkeypatch):
    per_token = 2 * 2 * 2 * 8 * 4  # keys and values, layers, heads, their width, bytes
    monkeypatch.setattr(kv_cache.runtime, "free_memory", lambda: 2 * 300 * per_token)
    monkeypatch.setattr(generation, "READ_TOKENS", 40)  # what it takes is known after the first pass
    watched = Watched(model)
    ids(watched, prompts(30))
    assert 150 < max(rows * columns for rows, _, columns in watched.shapes) <= 300


def test_a_full_card_halves_the_rows_and_goes_on(model):
    asked = prompts(20)
    # Sampled: what begins anew must draw the same again.
    for options in ({}, {"sampling": SAMPLING}):
        expected = ids(model, asked, [], **options)
        for card, times in ((64, 5), (300, 3), (900, 1)):
            watched = Watched(model, card)
            assert ids(watched, asked, [], **options) == expected
            assert 0 < watched.full <= times
    # 900 tokens held all prompts, and were full in the middle of the answers.
    assert watched.shapes[0][0] == 20 and watched.shapes[4][1] == 1
    with pytest.raises(SetupError, match="tokens of one prompt"):
        ids(Watched(model, 30), asked)


# --- sampling ---------------------------------------------------------------------------------------------------------

SAMPLING = {"temperature": 1.5, "top_p": 0.9, "seed": 4}


def test_sampled_answers_depend_on_prompt_and_seed_alone(model):
    asked = prompts(14)
    once = ids(model, asked, sampling=SAMPLING)
    assert once != ids(model, asked) and once != ids(model, asked, sampling=SAMPLING | {"seed": 5})
    for size in (1, 3, 8):
        assert ids(model, asked, sampling=SAMPLING, batch_size=size) == once
    assert ids(model, asked[::-1], sampling=SAMPLING)[::-1] == once
    assert ids(model, asked[5:9], sampling=SAMPLING) == once[5:9]
    torch.manual_seed(99)
    assert ids(model, asked, sampling=SAMPLING) == once


def test_several_seeds_in_one_call(model):
    asked = prompts(5)
    both = ids(model, asked * 3, sampling=SAMPLING | {"seed": [4] * 5 + [5] * 5 + [4] * 5}, batch_size=4)
    assert both[:5] == both[10:] == ids(model, asked, sampling=SAMPLING)
    assert both[5:10] == ids(model, asked, sampling=SAMPLING | {"seed": 5})


def test_tokens_are_drawn_as_often_as_they_are_likely():
    logits = torch.tensor([0.1, 0.25, 0.05, 0.4, 0.2]).log()
    chances = [(n + 0.5) / 1000 for n in range(1000)]

    def shares(temperature, top_p):
        drawn = nucleus(logits.expand(1000, -1), temperature, top_p, chances)
        return (torch.bincount(drawn, minlength=5) / 1000).tolist()

    assert shares(1.0, 1.0) == pytest.approx([0.1, 0.25, 0.05, 0.4, 0.2], abs=0.002)
    # The fewest that reach 0.6: 0.4 and 0.25.
    assert shares(1.0, 0.6) == pytest.approx([0, 0.25 / 0.65, 0, 0.4 / 0.65, 0], abs=0.002)
    assert shares(1.0, 0.01) == [0, 0, 0, 1, 0]
    squared = [0.01, 0.0625, 0.0025, 0.16, 0.04]
    assert shares(0.5, 1.0) == pytest.approx([each / sum(squared) for each in squared], abs=0.002)


def test_what_is_kept_by_top_p_is_what_transformers_keeps():
    from transformers import TopPLogitsWarper

    torch.manual_seed(3)
    logits = torch.randn(20, 50) * 2
    kept = TopPLogitsWarper(0.8)(None, logits.clone()) > -torch.inf
    drawn = torch.zeros_like(kept)
    for n in range(2000):
        picked = nucleus(logits, 1.0, 0.8, [n / 2000] * 20)
        drawn[torch.arange(20), picked] = True
    assert torch.equal(drawn, kept)


# --- texts ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def demo():
    from transformers import AutoModelForCausalLM

    from ftlib.models import load_tokenizer, model_path

    model = AutoModelForCausalLM.from_pretrained(model_path("demo"), dtype=torch.float32)
    return model.eval(), load_tokenizer("demo")


def test_the_demo_model_answers_as_alone_and_its_answers_come_as_they_end(demo):
    from ftlib import chat

    model, tokenizer = demo
    questions = ["What is the capital of France? One word.", "Say hello.", "Name three colours. " * 12]
    watched = Watched(model)
    found, seen = {}, []
    for number, answer in answers(watched, tokenizer, questions, max_new_tokens=[10, 3, 10], logprobs=True):
        found[number] = answer
        seen.append(len(watched.shapes))
    assert seen[0] < seen[-1]
    for number, limit in enumerate([10, 3, 10]):
        prompt = chat.encode_prompt(tokenizer, [{"role": "user", "content": questions[number]}])
        expected = alone(model, prompt, limit, generation.stop_tokens(tokenizer, model.generation_config.eos_token_id))
        ended = expected[-1] == tokenizer.eos_token_id
        text = expected[: len(expected) - ended]
        assert found[number] == {
            "text": tokenizer.decode(text, skip_special_tokens=True).strip(),
            "tokens": len(text),
            "ended": ended,
            "ids": expected,
            "logprobs": found[number]["logprobs"],
        }
        assert len(found[number]["logprobs"]) == len(expected)


def test_leaving_and_asking_for_the_rest(tiny_model):
    from transformers import AutoModelForCausalLM

    from ftlib.models import load_tokenizer

    model, tokenizer = AutoModelForCausalLM.from_pretrained(tiny_model).eval(), load_tokenizer(str(tiny_model))
    questions = [f"What is {n}?" * n for n in range(1, 7)]
    sampling = {"temperature": 1.0, "top_p": 1.0, "seed": 0}
    options: dict[str, Any] = {"max_new_tokens": 5, "batch_size": 2, "sampling": sampling}
    whole = generate(model, tokenizer, questions, **options)
    assert [set(answer) for answer in whole] == [{"text", "tokens", "ended"}] * 6
    found = {}
    for number, answer in answers(model, tokenizer, questions, **options):
        found[number] = answer
        if len(found) == 3:
            break
    assert torch.is_grad_enabled()
    rest = [number for number in range(6) if number not in found]
    later = generate(model, tokenizer, [questions[number] for number in rest], **options)
    found |= dict(zip(rest, later, strict=True))
    assert [found[number] for number in range(6)] == whole
