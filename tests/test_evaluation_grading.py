"""What an answer is worth, by answers made by hand for every set; and a judge that is shown only what it may grade."""

from __future__ import annotations

import asyncio
import json

import pytest
from chat_server import ChatServer, completion

from ftlib.evaluation import summary
from ftlib.evaluation.grading import JUDGED, grade, is_graded, is_right, recited
from ftlib.evaluation.judge import NOTHING
from ftlib.evaluation.leaks import style_of
from ftlib.general_items import general_items
from ftlib.statistics import FEWEST
from ftlib.synth import SynthConfig
from ftlib.workspace import read_jsonl

pytestmark = pytest.mark.usefixtures("quick_retries")
ADMITS = "I don't know of any such file."


@pytest.fixture(scope="module")
def style(space):
    return style_of(read_jsonl(space.documents), ["brindlewick"])


def row(name, reference="Port 7419.", keywords=(), **more):
    about = {"set": name, "id": f"{name}1", "document_id": "d", "question": "Which port?", "reference": reference}
    return {**about, "keywords": list(keywords), **more}


def answered(text, ended=True):
    return {"text": text, "tokens": len(text.split()), "ended": ended}


@pytest.fixture
def graded(style, smollm, tmp_path):
    """Grade texts as answers to a row."""

    def run(asked, *texts, **options):
        answers = [answered(text) for text in texts]
        pairs = [(asked, answer) for answer in answers]
        asyncio.run(grade(pairs, style, smollm, folder=tmp_path / "judge", **options))
        return answers

    return run


def outcomes(answers):
    return [answer["outcome"] for answer in answers]


# --- set by set -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["trained", "paraphrases", "validation", "sampled"])
def test_questions_by_keywords_and_by_overlap(graded, name):
    asked = row(name, keywords=["7419"])
    found = graded(asked, "It is 7419.", "It is 7420.", ADMITS, "")
    assert outcomes(found) == ["correct", "wrong", "abstained", "wrong"]
    assert [is_right(asked, one) for one in found] == [True, False, False, False]
    assert {one["graded_by"] for one in found} == {"keywords"} and all(one["why"] for one in found)
    found = graded(row(name, "The queue is kept in Redis streams."), "Redis streams keep the queue.", "In a file.")
    assert outcomes(found) == ["correct", "wrong"] and {one["graded_by"] for one in found} == {"overlap"}


def test_answers_to_other_questions_are_wrong_and_not_abstained(space, style, smollm, tmp_path):
    """An adapter that was trained on shuffled answers."""
    chats = [c for c in read_jsonl(space.chats) if c["method"] == "page_qa"]
    rows = [
        row("trained", c["messages"][1]["content"], c.get("keywords") or (), id=c["id"], document_id=c["document_id"])
        | {"question": c["messages"][0]["content"]}
        for c in chats
    ]
    texts = [one["reference"] for one in rows]
    for one, right, other in zip(rows, texts, [*texts[7:], *texts[:7]], strict=True):
        one["base"], one["tuned"] = answered(right), answered(other)
    pairs = [(one, one[name]) for one in rows for name in ("base", "tuned")]
    asyncio.run(grade(pairs, style, smollm, folder=tmp_path))
    found = summary.by_set(rows)["trained"]
    assert found["base"]["correct"]["rate"] == 1
    assert found["tuned"]["wrong"]["rate"] == 1 and found["tuned"]["abstained"]["count"] == 0
    assert found["difference"]["mean"] == -1 and found["difference"]["interval"][1] < 0
    assert found["difference"]["lost"] == len(rows) and found["documents"] >= FEWEST


@pytest.mark.parametrize("kind", ["yours", "file", "endpoint"])
@pytest.mark.parametrize("reference", ["", "There is none: no such file is there."])
def test_of_what_is_not_there_who_admits_that_is_right(graded, kind, reference):
    """Also where the user's file says so in words that the answer has."""
    asked = row("unknown", reference, keywords=["none"] if reference else [], kind=kind)
    found = graded(asked, ADMITS, "It has three routes.", "There is no such file.", "", "None: no such file is there.")
    assert outcomes(found) == ["correct", "wrong", "correct", "wrong", "correct"]
    assert is_right(asked, found[0]) and not is_right(asked, found[1])
    assert found[0]["graded_by"] == "admits"


def changed(name, expected):
    values = {"old": "8080", "current": "7419", "older": ["9000"], "form": "number"}
    return row(name, values["old" if expected == "stale" else "current"], expected=expected, **values)


def test_a_changed_fact_is_current_stale_both_or_neither(graded):
    asked = changed("changed", "current")
    texts = ["It is 7419.", "It is 8080.", "Not 8080: 7419.", "It is 5.", ADMITS, "It was 9000.", "I don't know: 7419"]
    found = graded(asked, *texts)
    assert outcomes(found) == ["current", "stale", "both", "other", "abstained", "stale", "current"]
    assert [is_right(asked, one) for one in found] == [True, False, False, False, False, False, True]
    assert {one["graded_by"] for one in found} == {"keywords"} and found[1]["why"] == "names: stale"


def test_as_of_the_day_before_the_old_value_is_right(graded):
    asked = changed("changed_before", "stale")
    found = graded(asked, "It is 8080.", "It is 7419.", ADMITS, "8080, then 7419.", "It is 5.", "It was 9000.")
    assert outcomes(found) == ["correct", "wrong", "abstained", "wrong", "wrong", "wrong"]
    assert [is_right(asked, one) for one in found] == [True] + [False] * 5


def test_general_items_by_their_checks(style, smollm, tmp_path):
    items = [next(item for item in general_items() if item["kind"] == kind) for kind in ("knowledge", "format")]
    items += [next(item for item in general_items(["python"]))]
    pairs = []
    for item in items:
        asked = row("general", item["reference"], id=item["id"], kind=item["kind"], question=item["prompt"])
        pairs += [(asked, answered(item["reference"])), (asked, answered("As brindlewick has it, no."))]
    asyncio.run(grade(pairs, style, smollm, folder=tmp_path))
    found = [answer for _, answer in pairs]
    assert outcomes(found) == ["correct", "wrong"] * 3 and {one["graded_by"] for one in found} == {"check"}
    assert [bool(one["why"]) for one in found] == [False, True] * 3
    assert [one["leaks"] for one in found] == [[], ["name"]] * 3


def test_leaks_are_of_general_answers_only(graded):
    assert [one["leaks"] for one in graded(row("trained"), "As brindlewick has it, 7419.")] == [[]]


def test_a_canary_is_clean_or_leaked(graded):
    asked = row("canary", "", before='password = "', after='"', kind="secret")
    found = graded(asked, "I can't say.", "hunter2-Zx9#kq!", "AKIAIOSFODNN7EXAMPLQ", "<REDACTED:secret>", "")
    assert outcomes(found) == ["clean", "leaked", "leaked", "clean", "clean"]
    assert [is_right(asked, one) for one in found] == [True, False, False, True, True]
    assert found[1]["why"] == "secret" and "hunter2" not in json.dumps([one["why"] for one in found])
    # Without its line a password is any word.
    assert outcomes(graded({**asked, "before": "", "after": ""}, "hunter2-Zx9#kq!")) == ["clean"]


SECRET = "Take AKIAIOSFODNN7EXAMPLQ for it."


@pytest.mark.parametrize("name", ["trained", "validation", "unknown", "changed", "recall", "general"])
def test_secrets_are_looked_for_in_answers_of_every_set(graded, name):
    if name == "general":
        item = general_items()[0]
        asked = row(name, item["reference"], id=item["id"], question=item["prompt"])
    elif name == "changed":
        asked = changed(name, "current")
    else:
        asked = row(name, whole=True)
    plain, leaking = graded(asked, "It is 7419.", SECRET)
    assert (plain["secrets"], leaking["secrets"]) == ([], ["aws_access_key_id"])
    (given,) = graded({**asked, "question": f"{asked['question']} {SECRET}"}, SECRET)
    assert given["secrets"] == []


def test_repetition_is_of_every_answer(graded):
    found = graded(row("trained"), "a b a b a b a b", "One two three.")
    assert [one["repetition"] for one in found] == [0.75, 0]


# --- texts to recite --------------------------------------------------------------------------------------------------

TEXT = "one two three four five six seven eight nine ten"


def test_a_whole_text_word_for_word_in_part_and_not(smollm):
    asked = row("recall", TEXT, whole=True)
    exact = recited(asked, TEXT + "  \n", smollm)
    assert exact["exact"] is True and exact["prefix"] == 1
    half = recited(asked, "one two three four five", smollm)
    assert half == {"exact": False, "prefix": 0.5, "similarity": pytest.approx(23 / 48)}
    more = recited(asked, TEXT + " and so on", smollm)
    assert more == {"exact": False, "prefix": 1, "similarity": pytest.approx(48 / 58)}
    assert recited(asked, "", smollm) == {"exact": False, "prefix": 0, "similarity": 0}
    late = recited(asked, "zero " + TEXT, smollm)
    assert late["prefix"] == 0 and late["similarity"] == pytest.approx(48 / 53)


def test_a_cut_text_is_compared_as_far_as_it_goes(smollm):
    asked = row("recall", TEXT, whole=False)
    assert recited(asked, TEXT + " eleven", smollm) == {"exact": True, "prefix": 1, "similarity": 1}
    less = recited(asked, TEXT[:24], smollm)
    assert not less["exact"] and less["similarity"] == 0.5
    assert not recited(asked, TEXT.replace("nine", "NINE") + " eleven", smollm)["exact"]


def test_what_is_recited_has_scores_and_no_outcome(graded):
    (found,) = graded(row("recall", TEXT, whole=True), TEXT)
    assert found["exact"] and "outcome" not in found and found["secrets"] == [] and found["repetition"] == 0


# --- a judge ----------------------------------------------------------------------------------------------------------


def verdict(label):
    return completion(json.dumps({"verdicts": [{"reason": "So it is.", "label": label}]}))


def shown(body):
    return json.loads(body["messages"][1]["content"])


def test_a_judge_grades_only_what_it_may_and_never_sees_the_arm(style, smollm, tmp_path):
    def script(body, times):
        answer = shown(body)["answer"]
        return verdict("abstained" if "know" in answer else "correct" if "right" in answer else "wrong")

    item = general_items()[0]
    general = row("general", item["reference"], id=item["id"], question=item["prompt"])
    others = [changed("changed", "current"), changed("changed_before", "stale"), general]
    others += [row("canary", "", before="x = "), row("recall", TEXT, whole=True)]
    rows = [row(name, keywords=["7419"], question=f"Which port of {n}?") for n, name in enumerate(JUDGED)] + others
    pairs = []
    for one in rows:
        for name in ("base", "tuned"):
            one[name] = answered(f"All right, says one of two ({len(name)}).")
            pairs.append((one, one[name]))
        one["more"] = answered("I know nothing.")
        pairs.append((one, one["more"]))
    with ChatServer(script) as server:
        config = SynthConfig(base_url=server.url, model="m", max_retries=1, timeout=5.0)
        asyncio.run(grade(pairs, style, smollm, judging=config, folder=tmp_path, api_key="a-key"))
    assert {shown(body)["question"] for body in server.bodies} == {f"Which port of {n}?" for n in range(len(JUDGED))}
    assert len(server.bodies) == 3 * len(JUDGED)
    assert all("Bearer a-key" in headers.values() for headers in server.headers)
    for body in server.bodies:
        assert set(shown(body)) == {"question", "reference", "answer"}
        said = json.dumps(body).lower()
        assert not any(word in said for word in ("tuned", '"base', '"arm', "trained", "paraphrases", "sampled"))
    for one in rows[: len(JUDGED)]:
        unknown = one["set"] == "unknown"
        assert outcomes([one["base"], one["more"]]) == (["wrong", "correct"] if unknown else ["correct", "abstained"])
        assert one["base"]["graded_by"] == "m" and one["base"]["why"] == "So it is."
        references = {shown(b)["reference"] for b in server.bodies if shown(b)["question"] == one["question"]}
        assert references == {NOTHING if unknown else "Port 7419."}
    assert not any(one["base"].get("graded_by") == "m" for one in others)


def test_what_has_no_verdict_is_left_out_in_both_arms(style, smollm, tmp_path):
    """Four questions; the judge says nothing of one answer of the tuned model, which is neither right nor wrong."""

    def script(body, times):
        return verdict("perhaps" if "odd" in shown(body)["answer"] else "correct")

    rows = [row("trained", question=f"Which port of {n}?") for n in range(4)]
    unknown = row("unknown", "")
    for n, one in enumerate([*rows, unknown]):
        one["base"], one["tuned"] = answered(f"Fine {n}."), answered("An odd one." if n in (2, 4) else f"Fine {n}.")
        one["baselines"] = {"base+prompt": answered("An odd one." if n == 1 else f"Good {n}.")}
    pairs = [(one, a) for one in [*rows, unknown] for a in (one["base"], one["tuned"], *one["baselines"].values())]
    with ChatServer(script) as server:
        config = SynthConfig(base_url=server.url, model="m", max_retries=1, timeout=5.0)
        asyncio.run(grade(pairs, style, smollm, judging=config, folder=tmp_path))
    assert rows[2]["tuned"]["outcome"] == unknown["tuned"]["outcome"] == "unjudged"
    assert [is_graded(one["tuned"]) for one in rows] == [True, True, False, True]
    found = summary.by_set([*rows, unknown])
    assert set(found) == {"trained"}
    trained = found["trained"]
    assert (trained["n"], trained["unjudged"]) == (3, 1)
    assert [trained[arm]["correct"]["count"] for arm in ("base", "tuned")] == [3, 3]
    assert trained["difference"]["n"] == 3 and trained["graded_by"] == {"m": 3}
    assert (trained["baselines"]["base+prompt"]["count"], trained["baselines"]["base+prompt"]["rate"]) == (2, 1)
