"""ftlib.mixture: one split for documents and their chats, what is shown how often, and an audit that counts."""

from dataclasses import replace

import pytest

from ftlib import chunking, sample
from ftlib.chat import IGNORE, encode_chat
from ftlib.errors import SetupError
from ftlib.mixture import RAW_SOURCES, MixtureConfig, audit, build_mixture, split_of

CONFIG = MixtureConfig(max_length=64, validation_share=0.25)


def document(name: str, source: str = "code", text: str = "value = 1\n") -> dict[str, str]:
    return {"id": f"{source}:{name}", "source": source, "title": name, "path": name, "text": text}


def chat_of(about, number: int = 0, method: str = "page_qa", answer: str = "It is so.", share: float = 0.25):
    messages = [{"role": "user", "content": f"What is it, {number}?"}, {"role": "assistant", "content": answer}]
    own = f"{method}:{about}:{number}"
    return {
        "id": own,
        "messages": messages,
        "method": method,
        "document_id": about,
        "split": split_of(about or own, share),
    }


@pytest.fixture(scope="module")
def documents():
    """120 documents, of the sample's code among others; about a quarter is held out."""
    files = sorted((sample._DATA / "initial").rglob("*.py"))[:4]
    docs = [document(path.name, "code", path.read_text(encoding="utf-8")) for path in files]
    return docs + [document(f"{n}", RAW_SOURCES[n % 4], f"Text {n}.\n" * (1 + n % 3)) for n in range(116)]


@pytest.fixture(scope="module")
def chats(documents):
    rows = [chat_of(d["id"], n) for d in documents for n in range(2)]
    return rows + [chat_of(d["id"], 0, "file_snapshot") for d in documents if d["source"] == "code"]


@pytest.fixture(scope="module")
def mixture(documents, chats, smollm):
    return build_mixture(documents, chats, smollm, CONFIG)


def ids_of(rows) -> set[str]:
    return {row["document_id"] for row in rows}


def by_content(rows):
    return sorted((row["source"], row["document_id"], row["input_ids"]) for row in rows)


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
        SetupError, match=r"Chat .* is in split '\w+', but validation_share=0\.6 .*in 02_synth and 03_train"
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
        for row in mixture.train + mixture.validation
    ]
    assert sorted(found) == sorted(expected)


def test_the_shuffle_is_the_seeds(documents, chats, mixture, smollm):
    assert build_mixture(documents, chats, smollm, CONFIG).train == mixture.train
    other = build_mixture(documents, chats, smollm, replace(CONFIG, seed=1))
    assert other.train != mixture.train
    assert by_content(other.train) == by_content(mixture.train)
    kinds = [row["source"] in RAW_SOURCES for row in mixture.train]
    assert sum(a != b for a, b in zip(kinds, kinds[1:], strict=False)) > 20  # mixed, not one after the other


def test_orders(documents, chats, mixture, smollm):
    def build(order):
        return build_mixture(documents, chats, smollm, replace(CONFIG, order=order))

    raw, chatted, both = build("raw_only"), build("chat_only"), build("raw_then_chat")
    assert {row["source"] for row in raw.train} == set(RAW_SOURCES)
    assert {row["source"] for row in chatted.train} == {"page_qa", "file_snapshot"}
    assert by_content(raw.train + chatted.train) == by_content(both.train) == by_content(mixture.train)
    kinds = [row["source"] in RAW_SOURCES for row in both.train]
    assert kinds == sorted(kinds, reverse=True)
    sources = [row["source"] for row in both.train if row["source"] in RAW_SOURCES]
    assert sources != sorted(sources)  # shuffled within each half
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


def test_all_data(documents, chats, mixture, smollm):
    found = build_mixture(documents, chats, smollm, replace(CONFIG, all_data=True))
    assert by_content(found.train) == by_content(mixture.train + mixture.validation)
    assert by_content(found.validation) == by_content(mixture.validation)


def test_loss_on_answers_leaves_raw_text_as_it_is(documents, chats, smollm):
    found = build_mixture(documents, chats, smollm, replace(CONFIG, loss_on="assistant"))
    for row in found.train:
        assert (row["labels"] == row["input_ids"]) == (row["source"] in RAW_SOURCES)
    table = {entry["source"]: entry for entry in found.audit}
    answer = smollm("It is so.<|im_end|>", add_special_tokens=False)["input_ids"]
    assert table["page_qa"]["tokens_with_loss"] == table["page_qa"]["rows"] * len(answer)
    assert table["code"]["tokens_with_loss"] == table["code"]["tokens"]


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
        SetupError, match=r"Chat page_qa:code:\d+:0 has \d+ tokens, over max_length=64\. Raise max_length"
    ):
        build_mixture([], long_chats, smollm, replace(CONFIG, overflow="refuse"))


def test_a_cut_before_the_answer_leaves_the_chat_out(smollm, long_chats):
    long_chats[1]["messages"][0]["content"] = "A long question it is. " * 40
    found = build_mixture([], long_chats, smollm, replace(CONFIG, overflow="cut", loss_on="assistant"))
    assert [(entry["rows"], entry["dropped"], entry["truncated"]) for entry in found.audit] == [(1, 1, 0)]


# --- the audit --------------------------------------------------------------------------------------------------------


def test_audit_of_a_hand_made_case(mistral):
    bos, eos = mistral.bos_token_id, mistral.eos_token_id

    def row(source, ids, labels=None):
        return {"source": source, "document_id": "d", "input_ids": ids, "labels": labels or ids, "split": "train"}

    train = [
        row("code", [bos, 10, 11]),
        row("code", [bos, 12, eos]),
        row("page_qa", [bos, 10, eos, 11, eos], [IGNORE, IGNORE, IGNORE, 11, eos]),
    ]
    counts = {
        "code": {"documents": 1, "dropped": 0, "truncated": 0},
        "page_qa": {"documents": 4, "dropped": 2, "truncated": 1},
        "wiki": {"documents": 1, "dropped": 0, "truncated": 0},
    }
    validation = [row("wiki", [bos, 3, eos]), row("page_qa", [bos, 4])]
    names = (
        "source",
        "documents",
        "rows",
        "tokens",
        "tokens_with_loss",
        "validation_rows",
        "dropped",
        "truncated",
        "bos",
        "eos",
    )
    assert audit(train, validation, counts, mistral) == [
        dict(zip(names, ("code", 1, 2, 6, 6, 0, 0, 0, 2, 1), strict=True)),
        dict(zip(names, ("page_qa", 4, 1, 5, 2, 1, 2, 1, 1, 2), strict=True)),
        dict(zip(names, ("wiki", 1, 0, 0, 0, 1, 0, 0, 0, 0), strict=True)),
    ]


def test_the_audit_counts_every_token(documents, chats, tokenizer):
    found = build_mixture(documents, chats, tokenizer, replace(CONFIG, all_data=True))
    table = {entry["source"]: entry for entry in found.audit}
    for source in RAW_SOURCES:
        own = [d for d in documents if d["source"] == source]
        entry = table[source]
        parts = [row for d in own for row in chunking.chunk(d, tokenizer, 64)]
        assert (entry["documents"], entry["rows"], entry["eos"]) == (len(own), len(parts), len(own))
        assert entry["bos"] == len(parts) * len(chunking.bos_ids(tokenizer))
        assert entry["tokens"] == entry["tokens_with_loss"] == sum(len(row["input_ids"]) for row in parts)
        # The documents' own tokens, with the header of each later part, a BOS a part and an EOS a document.
        whole = sum(len(chunking.encode(tokenizer, chunking.header(d) + d["text"])[0]) for d in own)
        titles = {d["id"]: d for d in own}
        later = sum(
            len(chunking.encode(tokenizer, chunking.header(titles[row["document_id"]], row["part"]))[0])
            for row in parts
            if row["part"] > 1
        )
        assert entry["tokens"] == whole + later + entry["bos"] + entry["eos"]
    assert table["page_qa"]["documents"] == table["page_qa"]["rows"] == 2 * len(documents)


def doctored(tokenizer, change):
    name = next(name for n in range(40) if split_of(name := f"code:{n}", 0.25) == "train")
    found = build_mixture([document(name.removeprefix("code:"))], [chat_of(name)], tokenizer, CONFIG)
    counts = {source: {"documents": 1, "dropped": 0, "truncated": 0} for source in ("code", "page_qa")}
    audit(found.train, found.validation, counts, tokenizer)
    for row in found.train:
        change(row)
    return found.train, found.validation, counts, tokenizer


def test_a_second_bos_is_found(mistral):
    def change(row):
        row["input_ids"], row["labels"] = ([1, *row[name]] for name in ("input_ids", "labels"))

    with pytest.raises(SetupError, match=r"A row of code:\d+ has 2 BOS tokens; one was expected"):
        audit(*doctored(mistral, change))


def test_a_missing_bos_is_found(mistral):
    def change(row):
        row["input_ids"], row["labels"] = (row[name][1:] for name in ("input_ids", "labels"))

    with pytest.raises(SetupError, match="has 0 BOS tokens"):
        audit(*doctored(mistral, change))


def test_labels_that_are_not_the_rows_own_are_found(tokenizer):
    def change(row):
        row["labels"] = [*row["labels"][1:], row["labels"][0]]

    with pytest.raises(SetupError, match=r"A row of code:\d+ has labels that are not its own tokens"):
        audit(*doctored(tokenizer, change))


def test_a_row_without_loss_is_found(tokenizer):
    def change(row):
        row["labels"] = [IGNORE] * len(row["labels"])

    with pytest.raises(SetupError, match=r"A row of code:\d+ carries no loss"):
        audit(*doctored(tokenizer, change))


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"order": "chat_then_raw"}, "order='chat_then_raw' is unknown"),
        ({"overflow": "truncate"}, "overflow='truncate' is unknown"),
        ({"loss_on": "answers"}, "loss_on='answers' is unknown"),
        ({"max_length": 5}, r"code:.*max_length=5 leaves no room"),
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
        build_mixture([], [bad], mistral, CONFIG)
