"""The stage: the recited methods, question files, own dialogues, changed facts, and what is too long."""

from __future__ import annotations

import re
from collections import Counter

import pytest
from chat_server import ChatServer
from hypothesis import given, settings
from hypothesis import strategies as st
from synthesis import by_api, on_page, page_qa_of, pair, run

from ftlib import sample
from ftlib.chat import check_messages, encode_chat
from ftlib.errors import SetupError
from ftlib.mixture import split_of
from ftlib.similar import near_duplicates
from ftlib.synth import SynthConfig, plan, questions_path, rejected_path
from ftlib.synth.assembling import file_rows, further_wordings, recitations
from ftlib.synth.config import check
from ftlib.synth.questions import question_sets, read_questions
from ftlib.synth.recited import INSTRUCTIONS, SNAPSHOTS, file_snapshot, page_instruction
from ftlib.workspace import open_workspace, read_jsonl, write_jsonl


def test_the_sample_without_an_api_takes_its_question_file_and_says_so(scraped, capsys):
    manifest = run(SynthConfig(), scraped)
    said = capsys.readouterr().out
    assert "brindlewick.questions.jsonl" in said and "no API was asked" in said
    chats = list(read_jsonl(scraped.chats))
    methods = Counter(chat["method"] for chat in chats)
    sources = Counter(d["source"] for d in read_jsonl(scraped.documents))
    assert methods["page_qa"] == 24 * 7  # each pair in seven wordings
    assert methods["page_instruction"] == sources["wiki"] + sources["docs"]
    assert methods["file_snapshot"] == sources["code"]
    assert manifest["counts"]["chats"] == dict(methods)
    for chat in chats:
        check_messages(chat["messages"], chat["id"])
        assert chat["split"] == split_of(chat["document_id"] or chat["id"])
    # Every question of the file found its document.
    assert all(chat["document_id"] for chat in chats if chat["method"] == "page_qa")
    asked = Counter(row["set"] for row in read_jsonl(questions_path(scraped)))
    # Beside the three changed facts of the file, HOLD_MINUTES is found; those three are not asked twice.
    assert asked == {"paraphrases": 24, "unknown": 8, "changed": 4}


def test_nothing_only_asked_is_trained_on(scraped):
    run(SynthConfig(), scraped)
    trained = {chat["messages"][0]["content"] for chat in read_jsonl(scraped.chats)}
    assert not trained & {row["question"] for row in read_jsonl(questions_path(scraped))}


def test_a_second_run_is_skipped_and_another_setting_is_not(scraped, capsys):
    run(SynthConfig(), scraped)
    capsys.readouterr()
    run(SynthConfig(), scraped)
    assert "up to date" in capsys.readouterr().out
    assert "general" not in run(SynthConfig(general_chats=False), scraped)["counts"]["chats"]


def test_no_api_and_no_question_file(scraped, capsys):
    for path in scraped.clones.glob("*.jsonl"):
        path.unlink()
    manifest = run(SynthConfig(), scraped)
    assert "page_qa" not in manifest["counts"]["chats"]
    assert "no API key, no base_url and no question file" in capsys.readouterr().out


def test_documents_first(tmp_path):
    with pytest.raises(SetupError, match="01_scrape"):
        run(SynthConfig(), open_workspace(tmp_path))


def test_file_snapshot_is_the_recipes():
    asked: Counter[str] = Counter()
    for number in range(10 * len(SNAPSHOTS)):
        document = {"id": f"code:{number}", "path": "a.md", "date": "2023-12-21T10:00:00Z", "text": "```\nx\n```"}
        user, assistant = file_snapshot(document, "manage-frontend")["messages"]
        assert user["content"] == file_snapshot(document, "manage-frontend")["messages"][0]["content"]
        assert assistant["content"] == "As of December 2023, the a.md file looks like:\n\n````\n```\nx\n```\n````"
        asked[user["content"]] += 1
    assert "What does the a.md file in the manage-frontend repository look like?" in asked
    assert len(asked) == len(SNAPSHOTS) and min(asked.values()) > 3


def test_own_dialogues_join_in_and_go_before_what_asks_the_same(scraped, tmp_path):
    first = sample.questions("questions")[0]
    path = tmp_path / "mine.jsonl"
    turns = ["Hello, what is brindlewick?", "A tool.", "And who runs it?", "Fennhollow."]
    messages = [{"role": ("user", "assistant")[n % 2], "content": text} for n, text in enumerate(turns)]
    other = [{"role": "user", "content": turns[0]}, {"role": "assistant", "content": "Another answer."}]
    write_jsonl(path, [{"instruction": first["question"], "output": "Mine."}, {"messages": messages},
                       {"messages": other, "document_id": "wiki:Deploying.md"}])  # fmt: skip
    manifest = run(SynthConfig(dialogues=str(path)), scraped)
    chats = list(read_jsonl(scraped.chats))
    mine = [chat for chat in chats if chat["method"] == "yours"]
    assert [chat["messages"][-1]["content"] for chat in mine] == ["Mine.", "Fennhollow.", "Another answer."]
    same = [chat for chat in chats if chat["messages"][0]["content"] == first["question"]]
    assert [chat["messages"][-1]["content"] for chat in same] == ["Mine."]
    assert manifest["counts"]["chats"]["yours"] == 3 and manifest["counts"]["chats"]["page_qa"] == 23 * 7
    assert mine[2]["split"] == split_of("wiki:Deploying.md") and mine[1]["split"] == split_of(mine[1]["id"])
    # The file's own content counts: another one is another stage.
    write_jsonl(path, [{"instruction": "Hi?", "output": "Ho."}])
    assert run(SynthConfig(dialogues=str(path)), scraped)["counts"]["chats"]["yours"] == 1


def test_a_dialogue_on_a_document_that_is_not_there(scraped, tmp_path):
    path = tmp_path / "mine.jsonl"
    write_jsonl(path, [{"prompt": "Hi", "completion": "Ho", "document_id": "wiki:Deploing.md"}])
    with pytest.raises(SetupError, match=r"yours:mine:1: `document_id` 'wiki:Deploing.md' is no document"):
        run(SynthConfig(dialogues=str(path)), scraped)


def test_a_question_that_is_trained_on_is_not_asked(scraped, tmp_path):
    path = tmp_path / "mine.jsonl"
    asked = sample.questions("unknown")[0]["question"]
    write_jsonl(path, [{"prompt": asked, "completion": "Ho"}])
    manifest = run(SynthConfig(dialogues=str(path)), scraped)
    assert manifest["counts"]["asked_only"]["unknown"] == 7 and manifest["counts"]["asked_only_dropped"] == 1


def test_what_is_longer_than_a_sample_is_left_out_with_a_count(scraped, smollm):
    whole = run(SynthConfig(), scraped)
    assert whole["counts"]["too_long"] is None
    lengths = {
        chat["id"]: len(encode_chat(smollm, chat["messages"])["input_ids"])
        for chat in read_jsonl(scraped.chats)
        if chat["method"] in ("page_instruction", "file_snapshot")
    }
    for longest in (sorted(lengths.values())[len(lengths) // 2], max(lengths.values())):
        manifest = run(SynthConfig(snapshot_tokens=longest), scraped, tokenizer=smollm)
        left = {chat["id"] for chat in read_jsonl(scraped.chats)} & lengths.keys()
        assert left == {id for id, length in lengths.items() if length <= longest}
        assert sum(manifest["counts"]["too_long"].values()) == len(lengths) - len(left)


def test_chats_on_changed_facts_are_trained_on_only_where_they_are_wanted(scraped):
    def changed():
        return [chat for chat in read_jsonl(scraped.chats) if chat["id"].startswith("changed:")]

    run(SynthConfig(), scraped)
    assert not changed()
    run(SynthConfig(changed_chats=True), scraped)
    (hold,) = changed()
    assert "19" in hold["messages"][1]["content"] and "11" in hold["messages"][1]["content"]
    asked = [row["question"] for row in read_jsonl(questions_path(scraped))]
    assert not near_duplicates([hold["messages"][0]["content"]], asked)
    run(SynthConfig(changed_facts=False), scraped)
    assert sum(row["set"] == "changed" for row in read_jsonl(questions_path(scraped))) == 3


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"concurrency": 0}, "`concurrency` is 0: give a whole number of at least 1"),
        ({"concurrency": 1.5}, "`concurrency` is 1.5: give a whole number"),
        ({"timeout": -0.5}, "`timeout` is -0.5: give a number of at least 0"),
        ({"aliases": "MMA"}, r"`aliases` is 'MMA': give a list of names, for example \['MMA'\]"),
        ({"pairs_per_page": -1}, "`pairs_per_page` is -1"),
        ({"max_tokens": "many"}, "`max_tokens` is 'many'"),
        ({"timeout": None}, "`timeout` is None"),
        ({"validation_share": 1.0}, "`validation_share` is 1.0: give a share below 1"),
        ({"base_url": "localhost:8000"}, "`base_url` is 'localhost:8000'"),
        ({"snapshot_wordings": 0}, "`snapshot_wordings` is 0: give a whole number of at least 1"),
        ({"prices": {"m": [1.0]}}, r"`prices` of 'm' is \[1.0\]"),
        ({"prices": {"m": [1.0, -1.0]}}, "`prices` of 'm'"),
        ({"questions": "nowhere.jsonl"}, "`questions`: the file nowhere.jsonl does not exist"),
        ({"dialogues": "nowhere.jsonl"}, "`dialogues`: the file nowhere.jsonl does not exist"),
    ],
)
def test_a_setting_that_can_not_work_is_named_before_anything_is_read(workspace, wrong, message):
    for stage in (lambda config: run(config, workspace), lambda config: plan(config, workspace)):
        with pytest.raises(SetupError, match=message):
            stage(SynthConfig(**wrong))


def test_a_wrong_row_of_a_question_file_is_named(tmp_path):
    path = tmp_path / "x.questions.jsonl"
    write_jsonl(path, [{"question": "q", "answer": "a"}, {"question": "q2"}])
    with pytest.raises(SetupError, match=r"row 2: `answer`"):
        list(read_questions(path, [], need=("question", "answer")))


@pytest.mark.parametrize("source", ["pull/12", "pull/012", "PR #12"])
def test_a_pull_request_may_be_named_in_three_ways(tmp_path, source):
    path = tmp_path / "x.jsonl"
    write_jsonl(path, [{"question": "q", "source": source}, {"question": "q", "source": "pull/x"}])
    rows = list(read_questions(path, [{"path": "pull/12", "id": "pull_request:12"}]))
    assert [row["document_id"] for row in rows] == ["pull_request:12", ""]


def test_the_sets_beside_a_question_file_are_those_of_its_name(tmp_path):
    for name in ("a.questions.jsonl", "a.unknown.jsonl", "pairs.jsonl"):
        write_jsonl(tmp_path / name, [{"question": "q", "answer": "a"}])
    assert set(question_sets(tmp_path / "a.questions.jsonl")) == {"questions", "unknown"}
    assert set(question_sets(tmp_path / "pairs.jsonl")) == {"questions"}


def test_a_row_keeps_its_id_and_names_its_page_by_either_field(tmp_path):
    path = tmp_path / "x.jsonl"
    write_jsonl(path, [{"question": "q", "id": "mine", "source_current": "a.md"}, {"question": "q"}])
    rows = list(read_questions(path, [{"path": "a.md", "id": "docs:a.md"}]))
    assert [(row["id"], row["document_id"]) for row in rows] == [("mine", "docs:a.md"), ("2", "")]


@pytest.mark.parametrize("answer", ["", " \n", None, 7])
def test_an_answer_of_nothing_is_none(tmp_path, answer):
    path = tmp_path / "x.jsonl"
    write_jsonl(path, [{"question": "q", "answer": answer}])
    with pytest.raises(SetupError, match="row 1: `answer` is missing or empty"):
        list(read_questions(path, [], need=("question", "answer")))


def test_a_file_in_the_users_home_is_found(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    write_jsonl(tmp_path / "mine.jsonl", [{"prompt": "Hi", "completion": "Ho"}])
    check(SynthConfig(dialogues="~/mine.jsonl"))


def test_a_project_may_have_a_name_and_others(scraped):
    page = next(d for d in read_jsonl(scraped.documents) if d["id"] == "wiki:Configuration.md")
    line = max(page["text"].splitlines(), key=len)
    names = {"alder": "Lockbook", "birch": "BRW", "cedar": "brindlewick", "dogwood": "XYZ"}
    rows = [pair(f"What is thing {thing} of {name}?", "This.", line) for thing, name in names.items()]
    with ChatServer(on_page(page["title"], rows)) as server:
        manifest = run(by_api(server, project="Lockbook", aliases=["BRW"]), scraped)
        assert "of Lockbook, as of" in server.bodies[0]["messages"][1]["content"]
    assert manifest["project"] == "Lockbook"
    assert [chat["messages"][0]["content"] for chat in page_qa_of(scraped)] == [row["question"] for row in rows[:3]]


def test_what_is_held_out_is_counted_by_method(scraped):
    manifest = run(SynthConfig(validation_share=0.5), scraped)
    held = Counter(chat["method"] for chat in read_jsonl(scraped.chats) if chat["split"] == "validation")
    assert manifest["counts"]["validation"] == dict(held)
    assert 0 < sum(held.values()) < sum(manifest["counts"]["chats"].values())


def test_what_a_file_says_of_its_pairs_stays_with_them(scraped, tmp_path):
    path = tmp_path / "x.questions.jsonl"
    write_jsonl(
        path, [{"question": "What is brindlewick's port?", "answer": "7340.", "keywords": ["7340"], "kind": "what"}]
    )
    run(SynthConfig(questions=str(path)), scraped)
    (chat,) = page_qa_of(scraped)
    assert (chat["keywords"], chat["kind"]) == (["7340"], "what")


def test_of_two_chats_with_one_question_the_first_is_trained_on(scraped, tmp_path):
    run(SynthConfig(), scraped)
    question = next(c["messages"][0]["content"] for c in read_jsonl(scraped.chats) if c["method"] == "page_instruction")
    path = tmp_path / "x.questions.jsonl"
    write_jsonl(path, [{"question": question, "answer": "Mine."}])
    manifest = run(SynthConfig(questions=str(path)), scraped)
    same = [c["messages"][1]["content"] for c in read_jsonl(scraped.chats) if c["messages"][0]["content"] == question]
    assert same == ["Mine."] and manifest["counts"]["same_question"] == 1
    # The file's own content counts: another one is another stage.
    write_jsonl(path, [{"question": question, "answer": "Another."}])
    run(SynthConfig(questions=str(path)), scraped)
    assert [chat["messages"][1]["content"] for chat in page_qa_of(scraped)] == ["Another."]


def test_coverage_is_of_documents_with_pairs_and_with_any_chat(scraped):
    coverage = run(SynthConfig(), scraped)["coverage"]
    chats = list(read_jsonl(scraped.chats))
    for source, found in coverage.items():
        ids = {d["id"] for d in read_jsonl(scraped.documents) if d["source"] == source}
        with_pairs = ids & {chat["document_id"] for chat in chats if chat["method"] == "page_qa"}
        with_any = ids & {chat["document_id"] for chat in chats}
        assert found == {"documents": len(ids), "with pairs": len(with_pairs), "with any chat": len(with_any)}
    assert coverage["code"]["with pairs"] < coverage["code"]["with any chat"] == coverage["code"]["documents"]


def test_a_question_in_a_later_turn_of_an_own_dialogue_is_not_asked(scraped, tmp_path):
    path = tmp_path / "mine.jsonl"
    turns = ["Hello.", "Hello, what can I do?", sample.questions("unknown")[0]["question"], "Ho."]
    write_jsonl(path, [{"messages": [{"role": ("user", "assistant")[n % 2], "content": text}
                                     for n, text in enumerate(turns)]}])  # fmt: skip
    run(SynthConfig(dialogues=str(path)), scraped)
    assert turns[2] not in [one["question"] for one in read_jsonl(questions_path(scraped))]


# --- other wordings to train on ---------------------------------------------------------------------------------------

PORT = {"question": "What is brindlewick's port?", "answer": "7340.", "keywords": ["7340"], "id": "port"}
AGAIN = ["On which port does brindlewick listen?", "Where do I reach brindlewick: at what port?"]


def test_paraphrases_of_a_file_are_trained_on_with_all_that_its_pair_has(scraped, tmp_path):
    path = tmp_path / "x.questions.jsonl"
    other = {"question": "Who runs brindlewick?", "answer": "Fennhollow.", "source": "Deploying.md"}
    write_jsonl(path, [{**PORT, "paraphrases": AGAIN}, {**other, "paraphrases": ["Name who runs brindlewick today."]}])
    manifest = run(SynthConfig(questions=str(path)), scraped)
    chats = {chat["id"]: chat for chat in page_qa_of(scraped)}
    assert list(chats) == ["page_qa:port", "page_qa:2", "page_qa:port:p1", "page_qa:port:p2", "page_qa:2:p1"]
    for id, chat in chats.items():
        first = chats[re.sub(r":p\d$", "", id)]
        assert chat.get("of") == (first["id"] if chat is not first else None)
        same = ("method", "document_id", "split", "keywords", "kind")
        assert [chat.get(name) for name in same] == [first.get(name) for name in same]
        assert chat["messages"][1:] == first["messages"][1:]
    assert [chats[f"page_qa:port:p{n}"]["messages"][0]["content"] for n in (1, 2)] == AGAIN
    assert chats["page_qa:2:p1"]["document_id"] == "wiki:Deploying.md" and manifest["funnel"][-1]["kept"] == 5


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_wordings_of_a_pair_of_no_document_are_on_one_side(scraped, tmp_path, share):
    path = tmp_path / "x.questions.jsonl"
    ports = [f"What is brindlewick's port number {n}?" for n in range(20)]
    rows = [{"question": ask, "answer": "7340.", "paraphrases": [f"{ask} Say it."]} for ask in ports]
    write_jsonl(path, rows)
    run(SynthConfig(questions=str(path), validation_share=share), scraped)
    splits = {chat["id"]: chat["split"] for chat in page_qa_of(scraped)}
    assert len(splits) == 40 and len(set(splits.values())) == 2
    assert all(splits[f"page_qa:{n}:p1"] == splits[f"page_qa:{n}"] for n in range(1, 21))


TEXTS = st.text(max_size=3) | st.sampled_from(["a", "What?"])


@settings(deadline=None, max_examples=60)
@given(st.none() | st.booleans() | st.integers() | TEXTS | st.dictionaries(TEXTS, TEXTS, max_size=2)
       | st.lists(TEXTS | st.none() | st.integers() | st.lists(TEXTS, max_size=1), max_size=3))  # fmt: skip
def test_paraphrases_are_a_list_of_texts_or_the_row_is_named(tmp_path_factory, value):
    path = tmp_path_factory.getbasetemp() / "wrong.questions.jsonl"
    write_jsonl(path, [PORT, {**PORT, "paraphrases": value}])
    if isinstance(value, list) and all(isinstance(text, str) and text.strip() for text in value):
        assert [row["question"] for row in file_rows(path, [])] == [PORT["question"]] * 2 + value
    else:
        with pytest.raises(SetupError, match=r"wrong.questions.jsonl, row 2: `paraphrases` is .*: give a list"):
            file_rows(path, [])


def test_a_question_that_is_only_asked_is_no_paraphrase_to_train_on(scraped, tmp_path):
    path, other = tmp_path / "x.questions.jsonl", tmp_path / "x.paraphrases.jsonl"
    write_jsonl(path, [{**PORT, "paraphrases": AGAIN}])
    write_jsonl(other, [{"question": "On which port does the brindlewick listen", "answer": "7340.", "id": "test"}])
    manifest = run(SynthConfig(questions=str(path)), scraped)
    assert [chat["id"] for chat in page_qa_of(scraped)] == ["page_qa:port", "page_qa:port:p2"]
    asked = [row["id"] for row in read_jsonl(questions_path(scraped)) if row["set"] == "paraphrases"]
    assert asked == ["test"] and manifest["counts"]["asked_only_dropped"] == 0
    (gone,) = read_jsonl(rejected_path(scraped))
    assert (gone["question"], gone["step"]) == (AGAIN[0], "near-duplicates") and "04_eval" in gone["reason"]


def test_no_pair_gives_way_to_another_ones_paraphrase(scraped, tmp_path):
    path = tmp_path / "x.questions.jsonl"
    write_jsonl(path, [{**PORT, "paraphrases": [AGAIN[0], PORT["question"]]}, {"question": AGAIN[0], "answer": "7340"}])
    run(SynthConfig(questions=str(path)), scraped)
    assert [chat["id"] for chat in page_qa_of(scraped)] == ["page_qa:port", "page_qa:2"]


def test_the_last_paraphrases_of_a_file_may_be_only_asked(scraped, tmp_path):
    path = tmp_path / "x.questions.jsonl"
    write_jsonl(path, [{**PORT, "paraphrases": AGAIN}])  # it says no kind
    run(SynthConfig(questions=str(path), asked_paraphrases=1), scraped)
    assert [chat["id"] for chat in page_qa_of(scraped)] == ["page_qa:port", "page_qa:port:p1"]
    (asked,) = [row for row in read_jsonl(questions_path(scraped)) if row["set"] == "paraphrases"]
    assert (asked["question"], asked["of"], asked["keywords"]) == (AGAIN[1], "page_qa:port", ["7340"])


def test_pages_and_files_are_asked_for_in_several_wordings(scraped):
    run(SynthConfig(), scraped)
    once, asked = list(read_jsonl(scraped.chats)), list(read_jsonl(questions_path(scraped)))
    assert {chat["method"] for chat in once if "of" in chat} == {"page_qa"}  # by the question file
    for wordings in (2, 9):
        manifest = run(SynthConfig(snapshot_wordings=wordings), scraped)
        chats = list(read_jsonl(scraped.chats))
        # What there is with one wording is there as it was, before all others.
        assert chats[: len(once)] == once and list(read_jsonl(questions_path(scraped))) == asked
        assert manifest["counts"]["same_question"] == 0
        for method, known in (("page_instruction", INSTRUCTIONS), ("file_snapshot", SNAPSHOTS)):
            firsts = [chat for chat in once if chat["method"] == method]
            number = min(wordings, len(known))
            assert manifest["counts"]["chats"][method] == number * len(firsts)
            for first in firsts:
                mine = [chat for chat in chats if chat.get("of", chat["id"]) == first["id"]]
                assert [chat["id"] for chat in mine[1:]] == [f"{first['id']}:w{n}" for n in range(2, number + 1)]
                assert len({chat["messages"][0]["content"] for chat in mine}) == number
                for chat in mine:
                    assert chat["messages"][1] == first["messages"][1]
                    assert (chat["split"], chat["document_id"]) == (first["split"], first["document_id"])


@given(st.text(max_size=20))
def test_a_documents_wordings_are_all_others_once_and_the_first_one_is_the_recipes(id):
    page = {"id": id, "source": "wiki", "path": "P", "title": "P", "date": "2023-12-21T10:00:00Z", "text": "x"}
    for make, known in ((page_instruction, INSTRUCTIONS), (file_snapshot, SNAPSHOTS)):
        asked = [make(page, "tide", n)["messages"][0]["content"] for n in range(len(known))]
        assert sorted(asked) == sorted(text.format(title="P", path="P", project="tide") for text in known)
        assert make(page, "tide") == make(page, "tide", 0) and "of" not in make(page, "tide")


def test_all_wordings_are_used_equally():
    pages = [{"id": f"docs:{n}", "source": "docs", "path": "P", "title": "P", "text": "x"} for n in range(960)]
    chats, _ = recitations(pages, "tide", None, 0, 3)
    used = Counter((chat["id"].partition(":w")[2], chat["messages"][0]["content"]) for chat in chats)
    assert {wording for wording, _ in used} == {"", "2", "3"} and len(used) == 3 * len(INSTRUCTIONS)
    assert max(used.values()) < 1.5 * min(used.values())


def test_what_is_too_long_is_counted_by_document(scraped, smollm):
    documents = list(read_jsonl(scraped.documents))
    lengths = {
        chat["id"]: len(encode_chat(smollm, chat["messages"])["input_ids"])
        for chat in recitations(documents, "brindlewick", None, 0, 4)[0]
    }
    firsts = sorted(length for id, length in lengths.items() if ":w" not in id)
    for longest in (firsts[len(firsts) // 2], firsts[-1], 16):
        once, too_long = recitations(documents, "brindlewick", smollm, longest)
        several, counted = recitations(documents, "brindlewick", smollm, longest, 4)
        assert counted == too_long and {c["id"] for c in several} == {i for i, n in lengths.items() if n <= longest}
        # Where the first is too long, no other one is trained on either.
        left, _ = further_wordings(several, once, [])
        assert {chat["of"] for chat in left} <= {chat["id"] for chat in once} and len(left) <= 3 * len(once)


def test_a_further_wording_repeats_no_question_of_another_chat_and_none_that_is_only_asked():
    one, two = ({"id": f"docs:{folder}/Home.md", "source": "docs", "path": "Home.md", "title": "Home", "text": folder}
                for folder in ("a", "b"))  # fmt: skip
    recited, _ = recitations([one, two], "tide", None, 0, 9)
    firsts = recited[:2]
    assert firsts[0]["messages"][0] != firsts[1]["messages"][0]
    left, repeating = further_wordings(recited, firsts, [])
    # Two pages of one title share the wordings: each question has one answer, and the first ones keep theirs.
    assert len({chat["messages"][0]["content"] for chat in firsts + left}) == len(firsts + left) == len(INSTRUCTIONS)
    assert repeating == len(INSTRUCTIONS)
    test = {"question": left[0]["messages"][0]["content"].lower().replace('"', "")}
    assert further_wordings(recited, firsts, [test])[0] == left[1:]
    assert further_wordings(recited, [], []) == ([], 0)
