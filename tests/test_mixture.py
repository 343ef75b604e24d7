"""ftlib.mixture: one split for documents and their chats, what is shown how often, and an audit that counts."""

import json
from collections import Counter
from dataclasses import replace

import pytest
from records import CONFIG, by_content, chat_of, document
from tokenizers_of_all_kinds import conversation

from ftlib import chunking, tokens
from ftlib.audit import RAW_SOURCES
from ftlib.chat import encode_chat
from ftlib.errors import SetupError
from ftlib.mixture import build_mixture, split_of
from ftlib.rows import store


@pytest.fixture(scope="module")
def mixture(documents, chats, smollm):
    return build_mixture(documents, chats, smollm, CONFIG)


def ids_of(rows) -> set[str]:
    return {row["document_id"] for row in rows}


# --- the split --------------------------------------------------------------------------------------------------------


def test_a_split_is_about_its_share_and_stays():
    names = [f"code:src/{number}.py" for number in range(20_000)]
    for share in (0.0, 0.1, 0.5, 1.0):
        held_out = sum(split_of(name, share) == "validation" for name in names)
        assert held_out / len(names) == pytest.approx(share, abs=0.01)
    tenth, fifth = ({n for n in names if split_of(n, share) == "validation"} for share in (0.1, 0.2))
    assert tenth < fifth
    # For good: a split that moved would leak what old runs were trained on.
    first = [n for n in range(60) if split_of(f"wiki:Page-{n}") == "validation"]
    assert first == [9, 12, 18, 35, 37, 44, 59]


def test_documents_and_their_chats_are_on_one_side(mixture, documents):
    held_out = {d["id"] for d in documents if split_of(d["id"], 0.25) == "validation"}
    assert 15 < len(held_out) < 45
    for rows, split, names in ((mixture.train, "train", None), (mixture.validation, "validation", held_out)):
        assert {row["split"] for row in rows} == {split}
        assert {row["source"] for row in rows} == {*RAW_SOURCES, "page_qa", "file_snapshot"}
        raw = {row["document_id"] for row in rows if row["source"] in RAW_SOURCES}
        assert raw == {row["document_id"] for row in rows if row["source"] == "page_qa"}
        assert raw == (names or {d["id"] for d in documents} - held_out)


def test_adding_documents_moves_none(documents, chats, mixture, smollm):
    names = {d["id"] for d in documents[:60]}
    few = build_mixture(documents[:60], [c for c in chats if c["document_id"] in names], smollm, CONFIG)
    assert ids_of(few.train) < ids_of(mixture.train)
    assert ids_of(few.validation) < ids_of(mixture.validation)


def test_a_chat_of_no_document_is_split_by_its_own_id(documents, smollm):
    mine = [chat_of(None, n, "yours") for n in range(40)]
    found = build_mixture(documents, mine, smollm, CONFIG)
    counts = [sum(row["source"] == "yours" for row in rows) for rows in (found.train, found.validation)]
    assert sum(counts) == 40 and counts[1] == sum(row["split"] == "validation" for row in mine) > 0


def test_a_split_that_disagrees_is_refused(documents, chats, smollm):
    with pytest.raises(
        SetupError,
        match=r"chats.jsonl, chat .* is in split '\w+', but validation_share=0\.6 .*in 02_synth and 03_train",
    ):
        build_mixture(documents, chats, smollm, replace(CONFIG, validation_share=0.6))


# --- what is shown ----------------------------------------------------------------------------------------------------


def test_rows_are_chunks_and_chats_unchanged(mixture, documents, chats, smollm):
    expected = [
        ("raw", row["input_ids"], row["labels"], split_of(d["id"], 0.25))
        for d in documents
        for row in chunking.chunk(d, smollm, 64)
    ]
    for record in chats:
        row = encode_chat(smollm, record["messages"])
        expected.append(("chat", row["input_ids"], row["labels"], record["split"]))
    found = [
        ("raw" if row["source"] in RAW_SOURCES else "chat", row["input_ids"], row["labels"], row["split"])
        for row in [*mixture.train, *mixture.validation]
    ]
    assert sorted(found) == sorted(expected)


def test_the_shuffle_is_the_seeds(documents, chats, mixture, smollm):
    assert list(build_mixture(documents, chats, smollm, CONFIG).train) == list(mixture.train)
    other = build_mixture(documents, chats, smollm, replace(CONFIG, seed=1))
    assert list(other.train) != list(mixture.train)
    assert by_content(other.train) == by_content(mixture.train)
    kinds = [row["source"] in RAW_SOURCES for row in mixture.train]
    assert sum(a != b for a, b in zip(kinds, kinds[1:], strict=False)) > 20  # mixed, not one after the other


def test_orders(documents, chats, mixture, smollm):
    def build(order):
        return build_mixture(documents, chats, smollm, replace(CONFIG, order=order))

    raw, chatted, both = build("raw_only"), build("chat_only"), build("raw_then_chat")
    assert {row["source"] for row in raw.train} == set(RAW_SOURCES)
    assert {row["source"] for row in chatted.train} == {"page_qa", "file_snapshot"}
    assert by_content([*raw.train, *chatted.train]) == by_content(both.train) == by_content(mixture.train)
    kinds = [row["source"] in RAW_SOURCES for row in both.train]
    assert kinds == sorted(kinds, reverse=True)
    sources = [row["source"] for row in both.train if row["source"] in RAW_SOURCES]
    assert sources != sorted(sources)  # shuffled within each half
    own = [row["document_id"] for row in both.train if row["source"] in RAW_SOURCES]
    stored = [d["id"] for d in documents if d["id"] in own]
    assert list(dict.fromkeys(own)) != stored
    for found in (raw, chatted, both):
        assert by_content(found.validation) == by_content(mixture.validation)  # so that their losses compare


def test_repeats(documents, chats, mixture, smollm):
    found = build_mixture(documents, chats, smollm, replace(CONFIG, repeats={"page_qa": 4, "wiki": 0}))
    rows = [row for row in mixture.train if row["source"] == "page_qa"]
    assert by_content(r for r in found.train if r["source"] == "page_qa") == by_content(rows * 4)
    assert not [row for row in found.train if row["source"] == "wiki"]
    rest = ("wiki", "page_qa")
    assert by_content(r for r in found.train if r["source"] not in rest) == by_content(
        r for r in mixture.train if r["source"] not in rest
    )
    assert by_content(found.validation) == by_content(mixture.validation)
    grouped = build_mixture(documents, chats, smollm, replace(CONFIG, repeats={"chat": 3, "page_qa": 1}))
    counts = Counter(row["source"] for row in grouped.train)
    once = Counter(row["source"] for row in mixture.train)
    assert counts["file_snapshot"] == 3 * once["file_snapshot"] > 0
    assert all(counts[source] == once[source] for source in (*RAW_SOURCES, "page_qa"))
    # A source with no rows is no mistake: a default names page_qa where there may be none.
    assert len(build_mixture(documents, [], smollm, replace(CONFIG, repeats={"page_qa": 8})).train)


def test_all_data(documents, chats, mixture, smollm):
    found = build_mixture(documents, chats, smollm, replace(CONFIG, all_data=True))
    assert by_content(found.train) == by_content([*mixture.train, *mixture.validation])
    assert by_content(found.validation) == by_content(mixture.validation)


def test_loss_on_answers_leaves_raw_text_as_it_is(documents, chats, smollm):
    found = build_mixture(documents, chats, smollm, replace(CONFIG, loss_on="assistant"))
    for row in found.train:
        assert (row["labels"] == row["input_ids"]) == (row["source"] in RAW_SOURCES)
    table = {entry["source"]: entry for entry in found.audit}
    answer = smollm("It is so.<|im_end|>", add_special_tokens=False)["input_ids"]
    assert table["page_qa"]["tokens_with_loss"] == table["page_qa"]["rows"] * len(answer)
    assert table["code"]["tokens_with_loss"] == table["code"]["tokens"] - table["code"]["rows"]


# --- overflow ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def long_chats():
    ids = [name for n in range(40) if split_of(name := f"code:{n}", 0.25) == "train"][:2]
    return [chat_of(ids[0]), chat_of(ids[1], 0, answer="A long answer it is. " * 40)]


@pytest.mark.parametrize(("overflow", "dropped", "truncated"), [("drop", 1, 0), ("cut", 0, 1)])
def test_long_chats_are_counted(smollm, long_chats, overflow, dropped, truncated):
    found = build_mixture([], long_chats, smollm, replace(CONFIG, overflow=overflow))
    (entry,) = found.audit
    assert (entry["documents"], entry["rows"]) == (2, 2 - dropped)
    assert (entry["dropped"], entry["truncated"]) == (dropped, truncated)
    assert max(len(row["input_ids"]) for row in found.train) == (64 if truncated else entry["tokens"])
    if truncated:
        whole = encode_chat(smollm, long_chats[1]["messages"])
        assert {"input_ids": whole["input_ids"][:64], "labels": whole["labels"][:64]} in [
            {name: row[name] for name in ("input_ids", "labels")} for row in found.train
        ]


def test_long_chats_are_refused(smollm, long_chats):
    with pytest.raises(
        SetupError, match=r"chat page_qa:code:\d+:0: it has \d+ tokens, over max_length=64\. Raise max_length"
    ):
        build_mixture([], long_chats, smollm, replace(CONFIG, overflow="refuse"))


def test_a_cut_before_the_answer_leaves_the_chat_out(smollm, long_chats):
    long_chats[1]["messages"][0]["content"] = "A long question it is. " * 40
    found = build_mixture([], long_chats, smollm, replace(CONFIG, overflow="cut", loss_on="assistant"))
    assert [(entry["rows"], entry["dropped"], entry["truncated"]) for entry in found.audit] == [(1, 1, 0)]


@pytest.mark.parametrize("overflow", ["drop", "cut"])
def test_a_cut_ends_with_an_answer(smollm, long_chats, overflow):
    """Two exchanges, the second question beyond the limit: the first exchange is kept whole."""
    long_chats[1]["messages"] = [*long_chats[0]["messages"], {"role": "user", "content": "And then? " * 60}]
    long_chats[1]["messages"] += [{"role": "assistant", "content": "So."}]
    found = build_mixture([], long_chats, smollm, replace(CONFIG, overflow=overflow))
    rows = [smollm.decode(row["input_ids"]) for row in found.train]
    assert len(rows) == (1 if overflow == "drop" else 2)
    assert all(text.strip().endswith("It is so.<|im_end|>") for text in rows)


# --- the counts -------------------------------------------------------------------------------------------------------


def test_the_audit_counts_every_token(documents, chats, tokenizer):
    found = build_mixture(documents, chats, tokenizer, replace(CONFIG, all_data=True))
    table = {entry["source"]: entry for entry in found.audit}
    for source in RAW_SOURCES:
        own = [d for d in documents if d["source"] == source]
        entry = table[source]
        parts = [row for d in own for row in chunking.chunk(d, tokenizer, 64)]
        assert (entry["documents"], entry["rows"], entry["eos"]) == (len(own), len(parts), len(own))
        assert entry["bos"] == len(parts) * len(tokens.bos_ids(tokenizer))
        assert entry["tokens"] == sum(len(row["input_ids"]) for row in parts)
        assert entry["tokens_with_loss"] == entry["tokens"] - entry["rows"]  # nothing predicts a row's first token
        # The documents' own tokens, with the header of each later part, a BOS a part and an EOS a document.
        whole = sum(len(tokens.encode(tokenizer, chunking.header(d) + d["text"])) for d in own)
        titles = {d["id"]: d for d in own}
        later = sum(
            len(tokens.encode(tokenizer, chunking.header(titles[row["document_id"]], row["part"])))
            for row in parts
            if row["part"] > 1
        )
        assert entry["tokens"] == whole + later + entry["bos"] + entry["eos"]
    assert table["page_qa"]["documents"] == table["page_qa"]["rows"] == 2 * len(documents)


def test_an_overlap_is_context_and_counted_as_such(documents, chats, tokenizer):
    plain, found = (
        {entry["source"]: entry for entry in build_mixture(documents, chats, tokenizer, config).audit}
        for config in (CONFIG, replace(CONFIG, overlap=8))
    )
    # As many tokens of text are trained on; what is more is headers of more parts.
    assert found["code"]["tokens"] > plain["code"]["tokens"]
    masked = found["code"]["tokens"] - found["code"]["rows"] - found["code"]["tokens_with_loss"]
    assert masked > 8 * (found["code"]["rows"] - found["code"]["documents"]) * 0.9


def test_characters_without_a_token_are_counted(smollm):
    docs = [document("a", "code", "x = '\x04\x06'\n" * 30), document("b", "docs", "plain")]
    mine = [chat_of("code:a", answer="It is \x13.")]
    table = {entry["source"]: entry for entry in build_mixture(docs, mine, smollm, CONFIG).audit}
    assert [table[source]["replaced"] for source in ("code", "docs", "page_qa")] == [60, 0, 1]


def test_a_lost_row_is_found(documents, chats, smollm, monkeypatch):
    """What a bug in storing or ordering would do."""
    import ftlib.mixture

    def losing(rows, folder, name="rows"):
        return store(list(rows)[:-1], folder, name).select([0, *range(len(documents) + 20)])

    monkeypatch.setattr(ftlib.mixture, "store", losing)
    with pytest.raises((SetupError, IndexError)):
        build_mixture(documents, chats, smollm, CONFIG)


def test_a_lost_chunk_is_found(documents, chats, smollm, monkeypatch):
    whole = chunking.chunk_documents
    for lose in (lambda row: row["part"] == 2, lambda row: row["document_id"] == documents[0]["id"]):

        def losing(*args, lose=lose):
            return (row for row in whole(*args) if not lose(row))

        monkeypatch.setattr(chunking, "chunk_documents", losing)
        with pytest.raises(SetupError, match="code:.*(fell between two chunks|no chunk was made|were kept)"):
            build_mixture(documents, chats, smollm, CONFIG)


def test_rows_are_on_disk_and_open_without_being_read(mixture):
    assert [file["filename"].endswith("rows.arrow") for file in mixture.train.cache_files] == [True]
    assert mixture.train.cache_files == mixture.validation.cache_files


def test_two_mixtures_do_not_disturb_each_other(documents, chats, smollm, tmp_path):
    first = build_mixture(documents, chats, smollm, CONFIG, tmp_path)
    before = by_content(first.train)
    second = build_mixture(documents[:30], [], smollm, CONFIG, tmp_path)
    assert len(second.train) < len(first.train) and by_content(first.train) == before


# --- near-duplicates across the split ---------------------------------------------------------------------------------


def test_a_held_out_question_that_is_trained_on_is_left_out(documents, smollm):
    sides: dict[str, list[str]] = {"train": [], "validation": []}
    for d in documents:
        sides[split_of(d["id"], 0.25)].append(d["id"])
    mine = [chat_of(sides["train"][0]), chat_of(sides["validation"][0]), chat_of(sides["validation"][1])]
    question = mine[0]["messages"][0]["content"]
    mine[1]["messages"] = [{"role": "user", "content": question.upper().replace("CODE", "code") + " "}] + mine[1][
        "messages"
    ][1:]
    mine[1]["messages"][0]["content"] = question.replace("What is it", "what is  it") + "?"
    found = build_mixture(documents, mine, smollm, CONFIG)
    (entry,) = [entry for entry in found.audit if entry["source"] == "page_qa"]
    assert (entry["documents"], entry["rows"], entry["validation_rows"], entry["near_duplicates"]) == (3, 1, 1, 1)
    held_out = {row["document_id"] for row in found.validation if row["source"] == "page_qa"}
    assert held_out == {sides["validation"][1]}
    kept = build_mixture(documents, mine, smollm, replace(CONFIG, drop_near_duplicates=False))
    assert len(kept.validation) == len(found.validation) + 1
    # The last run trains on everything, that chat included.
    last = build_mixture(documents, mine, smollm, replace(CONFIG, all_data=True))
    assert len(last.train) == len(kept.train) + len(kept.validation)


def in_other_words(chat, number):
    asked = {"role": "user", "content": f"In other words, {number} of them: {chat['messages'][0]['content']}"}
    return {**chat, "id": f"{chat['id']}:w{number}", "messages": [asked, chat["messages"][1]], "of": chat["id"]}


def test_a_held_out_answer_is_measured_in_one_wording_and_trained_on_in_all(documents, chats, smollm):
    again = [
        in_other_words(chat, number) for number in (2, 3, 4) for chat in chats if chat["method"] == "file_snapshot"
    ]
    held = sum(chat["split"] == "validation" for chat in again)
    assert 0 < held < len(again)
    once, found = (build_mixture(documents, rows, smollm, CONFIG) for rows in (chats, [*chats, *again]))
    assert by_content(found.validation) == by_content(once.validation)
    assert len(found.train) == len(once.train) + len(again) - held
    (entry,) = [entry for entry in found.audit if entry["source"] == "file_snapshot"]
    assert entry["other_wordings"] == held and entry["near_duplicates"] == 0
    assert entry["documents"] == entry["rows"] + entry["validation_rows"] + held
    last = build_mixture(documents, [*chats, *again], smollm, replace(CONFIG, all_data=True))
    assert len(last.train) == len(once.train) + len(once.validation) + len(again)


def test_another_wording_is_measured_where_its_first_is_not_there_but_not_where_that_is_trained_on(smollm):
    ids = {side: next(f"code:{n}" for n in range(99) if split_of(f"code:{n}", 0.25) == side)
           for side in ("train", "validation")}  # fmt: skip
    docs = [document(id.partition(":")[2]) for id in ids.values()]
    held, trained = chat_of(ids["validation"]), chat_of(ids["train"])
    alone = build_mixture(docs, [trained, in_other_words(held, 2)], smollm, CONFIG)
    assert sum(row["source"] == "page_qa" for row in alone.validation) == 1
    held["messages"][0] = trained["messages"][0]
    leaked = build_mixture(docs, [trained, held, in_other_words(held, 2)], smollm, CONFIG)
    assert not any(row["source"] == "page_qa" for row in leaked.validation)


def test_other_words_of_a_chat_of_no_document_are_on_its_side(smollm):
    for side in ("train", "validation"):
        first = next(c for n in range(99) if (c := chat_of("", n))["split"] == side)
        again = next(c for n in range(99) if split_of((c := in_other_words(first, n))["id"], 0.25) != side)
        build_mixture([document("1")], [chat_of("code:1"), first, again], smollm, replace(CONFIG, all_data=True))
        with pytest.raises(SetupError, match="is in split"):
            build_mixture([document("1")], [first, {**again, "of": ""}], smollm, replace(CONFIG, all_data=True))


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"order": "chat_then_raw"}, "order='chat_then_raw' is unknown"),
        ({"overflow": "truncate"}, "overflow='truncate' is unknown"),
        ({"loss_on": "answers"}, "loss_on='answers' is unknown"),
        ({"system": "drop"}, "system='drop' is unknown: use merge, refuse"),
        ({"max_length": 5}, r"code:.*max_length=5 leaves no room"),
        ({"overlap": -1}, "overlap=-1"),
        ({"repeats": {"page": 2}}, "repeats names 'page', which is no source. There are wiki, docs, code,"),
        ({"repeats": {"page_qa": 1.5}}, "repeats={'page_qa': 1.5}: a whole number"),
        ({"repeats": {"page_qa": -1}}, "a whole number of at least 0"),
        ({"validation_share": 1.0}, "validation_share and general_share must be at least 0 and below 1"),
        ({"general_share": 1.0}, "validation_share and general_share"),
    ],
)
def test_wrong_settings(documents, chats, smollm, change, reason):
    with pytest.raises(SetupError, match=reason):
        build_mixture(documents, chats, smollm, replace(CONFIG, **change))


def test_nothing_to_train_on(documents, chats, smollm):
    with pytest.raises(SetupError, match=r"nothing to train on with order='chat_only'"):
        build_mixture(documents, [], smollm, replace(CONFIG, order="chat_only"))
    with pytest.raises(SetupError, match="nothing to train on"):
        build_mixture([], [], smollm, CONFIG)


def test_a_bad_chat_is_named(documents, smollm, mistral):
    bad = chat_of("code:1")
    bad["messages"] = bad["messages"][:1]
    with pytest.raises(SetupError, match="chat page_qa:code:1:0: .*must be the assistant's"):
        build_mixture(documents, [bad], smollm, CONFIG)
    bad["messages"] = []
    with pytest.raises(SetupError, match="chat page_qa:code:1:0: .*a list of messages was expected"):
        build_mixture(documents, [bad], smollm, CONFIG)
    bad["messages"] = [{"role": "system", "content": "x"}, *chat_of("code:1")["messages"]]
    with pytest.raises(SetupError, match="chat page_qa:code:1:0: .*refused the messages"):
        build_mixture([], [bad], mistral, replace(CONFIG, system="refuse"))
    (entry,) = build_mixture([], [bad], mistral, replace(CONFIG, all_data=True)).audit
    assert (entry["rows"], entry["system_merged"]) == (1, 1)
    for key in ("id", "method", "document_id", "split"):
        wrong = {name: value for name, value in bad.items() if name != key}
        with pytest.raises(SetupError, match=f"chats.jsonl, chat .*: `{key}` is missing or no string"):
            build_mixture([], [wrong], smollm, CONFIG)
    with pytest.raises(SetupError, match="chats.jsonl, chat .*a list of messages was expected, found NoneType"):
        build_mixture([], [{**bad, "messages": None}], smollm, CONFIG)
    with pytest.raises(SetupError, match="method='mail' is unknown"):
        build_mixture([], [{**bad, "method": "mail"}], smollm, CONFIG)


def test_two_documents_of_one_id(documents, smollm):
    far = [document(str(n)) for n in range(1200)]  # batches apart
    for docs in ([document("x"), document("x")], [document("x"), *far, document("x")]):
        with pytest.raises(SetupError, match="Two documents have the id 'code:x'"):
            build_mixture(docs, [], smollm, CONFIG)


def test_half_a_surrogate_pair_is_named(documents, chats, smollm):
    """JSON can hold one, and no tokenizer takes it."""
    bad = json.loads(json.dumps(document("x", text="a\ud800")))
    with pytest.raises(SetupError, match="'code:x', `text`: character 1 is half a surrogate pair"):
        build_mixture([*documents, bad], chats, smollm, CONFIG)
    with pytest.raises(SetupError, match="chat page_qa:.*, message 1: character 6 is half a surrogate pair"):
        build_mixture(documents, [chat_of("code:1", answer="It is \ud800")], smollm, CONFIG)


def test_only_long_chats(smollm, long_chats):
    """The reason is said: the audit, which counts them, is not reached."""
    with pytest.raises(SetupError, match="no rows are left .*; 1 chats were over max_length=64 and dropped"):
        build_mixture([], long_chats[1:], smollm, CONFIG)


@pytest.mark.parametrize("part", [1, 2])
def test_a_chunk_lost_from_the_middle_is_found(smollm, monkeypatch, part):
    whole = chunking.chunk_documents
    monkeypatch.setattr(chunking, "chunk_documents", lambda *args: (r for r in whole(*args) if r["part"] != part))
    with pytest.raises(SetupError, match="fell between two chunks"):
        build_mixture([document("x", text="value = 1\n" * 100)], [], smollm, CONFIG)


def test_the_whole_conversation_is_the_question(smollm):
    """A greeting in common makes no near-duplicates."""
    ids = [next(f"code:{n}" for n in range(99) if chat_of(f"code:{n}")["split"] == s) for s in ("train", "validation")]
    mine = [
        {**chat_of(about), "messages": conversation(["Hello there", "Hi", second, "Here."])}
        for about, second in zip(ids, ("Where is the pump?", "Who built the tower?"), strict=True)
    ]
    assert len(build_mixture([], mine, smollm, CONFIG).validation) == 1


def test_no_system_message_is_merged_where_there_is_none(smollm):
    chats = [chat_of("code:1"), chat_of("code:1", 1)]
    (entry,) = build_mixture([], chats, smollm, replace(CONFIG, all_data=True)).audit
    assert entry["system_merged"] == 0
