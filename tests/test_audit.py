"""ftlib.audit: counts of hand-made rows, and every kind of fault found."""

import copy

import pytest

from ftlib.audit import audit, new_tally
from ftlib.chunking import IGNORE
from ftlib.errors import SetupError
from ftlib.rows import fingerprint, store


def row(source, ids, labels=None, document_id="d"):
    labels = list(ids) if labels is None else labels
    return {"source": source, "document_id": document_id, "input_ids": ids, "labels": labels, "split": "train"}


def made(train=(), validation=()):
    """What was counted while such rows were made."""
    tallies: dict[str, dict[str, int]] = {}
    for rows, prefix in ((train, ""), (validation, "validation_")):
        for one in rows:
            entry = tallies.setdefault(one["source"], new_tally())
            entry[f"{prefix}rows"] += 1
            entry[f"{prefix}tokens"] += len(one["input_ids"])
            entry[f"{prefix}checksum"] += fingerprint(one)
    return tallies


@pytest.mark.parametrize("stored", [False, True])
def test_a_hand_made_case(mistral, tmp_path, stored):
    bos, eos = mistral.bos_token_id, mistral.eos_token_id
    train = [
        row("code", [bos, 10, 11]),
        row("code", [bos, 12, eos]),
        row("page_qa", [bos, 10, eos, 11, eos], [IGNORE, IGNORE, IGNORE, 11, eos]),
    ]
    validation = [row("wiki", [bos, 3, eos]), row("page_qa", [bos, 4])]
    tallies = made(train, validation)
    tallies["code"] |= {"documents": 1, "replaced": 5}
    tallies["page_qa"] |= {"documents": 4, "dropped": 2, "truncated": 1, "near_duplicates": 3, "system_merged": 1}
    tallies["page_qa"] |= {"other_wordings": 7}
    tallies["wiki"] |= {"documents": 1}
    names = (
        "source documents rows tokens tokens_with_loss validation_rows dropped truncated near_duplicates "
        "other_wordings system_merged replaced bos eos"
    ).split()
    if stored:
        train, validation = store(train, tmp_path), store(validation, tmp_path, "validation")
    assert audit(train, validation, tallies, mistral) == [
        dict(zip(names, ("code", 1, 2, 6, 4, 0, 0, 0, 0, 0, 0, 5, 2, 1), strict=True)),
        dict(zip(names, ("page_qa", 4, 1, 5, 2, 1, 2, 1, 3, 7, 1, 0, 1, 2), strict=True)),
        dict(zip(names, ("wiki", 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0), strict=True)),
    ]


FAULTS = [
    ("code", [1, 1, 10, 2], None, r"has a BOS token at position 1; one was expected"),
    ("code", [1, 10, 1, 2], None, r"has a BOS token at position 2"),
    ("code", [10, 11, 2], None, r"has 0 BOS tokens and does not begin with one"),
    ("code", [10, 1, 2], None, r"has 1 BOS tokens and does not begin with one"),
    ("code", [1, 10, 2, 11], None, r"has the control token 2 inside its text, at position 2"),
    ("code", [1, 10, 0, 11, 2], None, r"has the control token 0 inside its text, at position 2"),
    ("page_qa", [10, 11, 2], None, "has 0 BOS tokens"),
    ("page_qa", [1, 10, 1, 11, 2], None, "has a BOS token at position 2"),
    ("page_qa", [1, 10, 2], [IGNORE] * 3, "carries no loss; it would teach nothing"),
    ("page_qa", [1, 10, 2], [1, IGNORE, IGNORE], "carries no loss"),  # nothing predicts the first token
    ("page_qa", [1, 10, 2], [1, 2, 10], "has labels that are not its own tokens"),
    ("page_qa", [1, 10, 2], [1, 10], "has labels that are not its own tokens"),
]


@pytest.mark.parametrize(("source", "ids", "labels", "reason"), FAULTS)
@pytest.mark.parametrize("held_out", [False, True])
def test_a_fault_is_found(mistral, source, ids, labels, reason, held_out):
    good, bad = row(source, [1, 10, 11, 2]), row(source, ids, labels, "code:bad")
    audit([good], [good], made([good], [good]), mistral)
    train, validation = ([good], [bad]) if held_out else ([good, bad], [])
    with pytest.raises(SetupError, match=f"A row of code:bad {reason}"):
        audit(train, validation, made(train, validation), mistral)


def test_llama_2_begins_each_exchange_anew(llama2, mistral):
    """A BOS behind an EOS is that template's own; inside raw text it never is."""
    ids = [1, 10, 2, 1, 11, 2]
    assert audit([row("page_qa", ids)], [], made([row("page_qa", ids)]), llama2)[0]["bos"] == 2
    with pytest.raises(SetupError, match="has a BOS token at position 3"):
        audit([row("code", ids)], [], made([row("code", ids)]), llama2)


def test_a_model_without_a_bos(smollm):
    ids = [100, 101, smollm.eos_token_id]
    (entry,) = audit([row("code", ids)], [], made([row("code", ids)]), smollm)
    assert (entry["bos"], entry["eos"]) == (0, 1)


def test_a_control_token_at_the_beginning_of_a_model_without_a_bos(smollm):
    bad = row("code", [0, 100, smollm.eos_token_id])
    with pytest.raises(SetupError, match="has the control token 0 inside its text, at position 0"):
        audit([bad], [], made([bad]), smollm)


def test_a_template_without_the_bos_that_the_tokenizer_puts_before_texts(mistral, monkeypatch):
    """The template is the model's own; raw text still needs the BOS."""
    monkeypatch.setattr(mistral, "chat_template", mistral.chat_template.replace("{{ bos_token }}", ""))
    chatted = row("page_qa", [10, 11, 2])
    assert audit([chatted], [], made([chatted]), mistral)[0]["bos"] == 0
    raw = row("code", [10, 11, 2])
    with pytest.raises(SetupError, match="has 0 BOS tokens"):
        audit([raw], [], made([raw]), mistral)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"rows": 3}, "code: 3 rows were made, 2 are in the mixture"),
        ({"tokens": 1009}, "code: 1,009 tokens were made, 6 are in the mixture"),
        ({"validation_rows": 0}, "code: 0 validation rows were made, 1 are in the mixture"),
        ({"validation_tokens": 4}, "code: 4 validation tokens were made, 3 are in the mixture"),
    ],
)
def test_a_loss_is_found(mistral, change, reason):
    rows = [row("code", [1, 10, 2])] * 2
    tallies = made(rows, rows[:1])
    audit(rows, rows[:1], tallies, mistral)
    tallies["code"] |= change
    with pytest.raises(SetupError, match=reason):
        audit(rows, rows[:1], tallies, mistral)


def test_rows_that_nobody_made(mistral):
    with pytest.raises(SetupError, match="Rows of 'code' are in the mixture that nothing made"):
        audit([row("code", [1, 10, 2])], [], {}, mistral)


def swap(rows):
    """A row lost, another of the same length in its place."""
    rows[0] = rows[1]


def corrupt(rows):
    rows[0] = row("code", [1, 10, 12, 2], document_id="a")


def mask(rows):
    rows[0] = row("code", [1, 10, 11, 2], [1, 10, IGNORE, 2], "a")


def move(rows):
    """A token from one row to another."""
    rows[0], rows[1] = row("code", [1, 10, 2], document_id="a"), row("code", [1, 20, 11, 21, 2], document_id="b")


def mistake(rows):
    """A row of another document's name."""
    rows[0] = {**rows[0], "document_id": "b"}


def leak(rows):
    rows[0] = {**rows[0], "split": "validation"}


@pytest.mark.parametrize("change", [swap, corrupt, mask, move, mistake, leak])
@pytest.mark.parametrize("held_out", [False, True])
def test_rows_of_the_right_number_and_length_that_are_not_those_made(mistral, change, held_out):
    rows = [row("code", [1, 10, 11, 2], document_id="a"), row("code", [1, 20, 21, 2], document_id="b")]
    sides: tuple[list, list] = ([], rows) if held_out else (rows, [])
    tallies = made(*sides)
    audit(*sides, tallies, mistral)
    audit(sides[0][::-1], sides[1][::-1], tallies, mistral)  # the order is the mixture's affair
    change(rows)
    with pytest.raises(SetupError, match="code: the rows in the mixture are not those that were made"):
        audit(*sides, tallies, mistral)


def test_a_bos_that_is_the_eos(smollm):
    """GPT-2: one token for both."""
    from tokenizers import processors

    tokenizer = copy.deepcopy(smollm)
    tokenizer.bos_token = tokenizer.eos_token
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<|im_end|> $A", special_tokens=[("<|im_end|>", 2)]
    )
    whole = row("code", [2, 900, 2])
    assert audit([whole], [], made([whole]), tokenizer)[0]["eos"] == 2


def test_a_fault_of_a_chat_of_no_document_names_its_source(mistral):
    with pytest.raises(SetupError, match="A row of yours carries no loss"):
        audit([row("yours", [1, 9], [IGNORE] * 2, "")], [], {}, mistral)
