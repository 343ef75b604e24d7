"""What the answers of an API will cost, and what they did."""

from __future__ import annotations

from typing import Any

import pytest
from chat_server import ChatServer, completion, pairs
from synthesis import API, ask, by_api, page, run, served, shown_title

from ftlib.synth import SynthConfig, money, plan
from ftlib.synth.journal import Journal
from ftlib.synth.pairs import responses_path


def test_a_trial_measures_what_all_will_cost(scraped):
    with served(scraped) as server:
        config = by_api(server, prices={"m": [1.0, 10.0]})
        run(SynthConfig(**{**config.__dict__, "limit": 3}), scraped)
        found = plan(config, scraped)
        left = found["requests"] - found["answered before"]
        assert found["answered before"] == found["measured"] == 3 and left > 3
        # 100 tokens out for each request of five pairs, as measured; what a character costs was measured too.
        assert found["tokens out"] == 100 * left
        assert found["dollars"] == pytest.approx((found["tokens in"] * 1.0 + found["tokens out"] * 10.0) / 1e6)
        asked = sum(server.asked.values())
        run(config, scraped)
        done = plan(config, scraped)
        assert (done["answered before"], done["dollars"]) == (done["requests"], 0.0)
        assert "nothing to pay" in money.in_words(done, config)
        assert sum(server.asked.values()) >= asked + left and set(server.asked.values()) == {1}


def test_the_plan_says_so_where_no_price_is_known(scraped):
    unknown = plan(SynthConfig(**API), scraped)
    assert unknown["dollars"] is None and "not in `prices`" in money.in_words(unknown, SynthConfig(**API))
    mini = SynthConfig(model="gpt-4.1-mini-2025-04-14")
    whole = plan(mini, scraped)
    price = money.PRICES["gpt-4.1-mini"]
    assert whole["dollars"] == pytest.approx((whole["tokens in"] * price[0] + whole["tokens out"] * price[1]) / 1e6)
    halved = plan(SynthConfig(model="gpt-4.1-mini", batch=True), scraped)
    assert halved["dollars"] == pytest.approx(whole["dollars"] / 2) and halved["minutes"] is None
    slow = plan(SynthConfig(model="gpt-4.1-mini", concurrency=1), scraped)
    assert slow["minutes"] > 4 * whole["minutes"] > 0


def test_a_name_that_only_begins_like_a_models_has_no_price():
    config = SynthConfig(prices={"mine": [1.0, 2.0]})
    assert money.price_of("gpt-4o-audio-preview", config) is None
    assert money.price_of("gpt-4o-2024-08-06", config) == money.PRICES["gpt-4o"]
    assert money.price_of("mine", config) == [1.0, 2.0]


def test_what_was_used_is_counted_once_and_where_something_is_not_known_it_says_so(tmp_path):
    def script(body, times):
        return completion(pairs("Q1?", "Q2?"), usage="odd" not in shown_title(body))

    config = SynthConfig(prices={"m": [100.0, 1000.0]})
    with ChatServer(script) as server:
        keys = ask(server, tmp_path, [page("one"), page("odd")]).keys
        keys += ask(server, tmp_path, [page("dear")], model="m2").keys
    one = (400 * 100 + 100 * 1000) / 1e6
    with Journal(responses_path(tmp_path)) as journal:
        spent = money.used([*keys[:2], *keys[:2]], journal, config)
        assert spent == {"responses": 2, "tokens_in": 400, "tokens_out": 100, "unknown": 1, "dollars": one}
        for order in (keys, keys[::-1]):
            assert money.used(order, journal, config)["dollars"] is None


def test_an_estimate_is_of_the_trial_that_is_set_and_of_the_wordings_that_are_asked_for(scraped):
    config: dict[str, Any] = {"base_url": "http://localhost:1/v1", "model": "m"}
    few = plan(SynthConfig(**config, limit=2), scraped)
    assert few["documents"] == few["requests"] == 2 < plan(SynthConfig(**config), scraped)["requests"]
    more = plan(SynthConfig(**config, limit=2, paraphrases=1, asked_paraphrases=1), scraped)
    assert more["tokens out"] > 1.3 * few["tokens out"]
