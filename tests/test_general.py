"""ftlib.general: chats from a file, up to a share of the tokens, the same ones each time."""

import json
from dataclasses import replace

import pytest
from records import CONFIG, by_content, chat_of
from tokenizers_of_all_kinds import conversation

from ftlib.audit import RAW_SOURCES
from ftlib.chat import Overflow, encode_chat
from ftlib.errors import SetupError
from ftlib.general import general_rows
from ftlib.mixture import build_mixture


@pytest.fixture(scope="module")
def general_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("general") / "general.jsonl"
    rows = [
        {
            "messages": [
                {"role": "user", "content": f"Please count to {n}."},
                {"role": "assistant", "content": " ".join(map(str, range(1 + n % 30)))},
            ]
        }
        for n in range(600)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.mark.parametrize("share", [0.05, 0.3])
def test_general_chats_take_their_share(documents, chats, smollm, general_file, share):
    config = replace(CONFIG, general=str(general_file), general_share=share, repeats={"page_qa": 2})
    found = build_mixture(documents, chats, smollm, config)
    general = [row for row in found.train if row["source"] == "general"]
    size = sum(len(row["input_ids"]) for row in found.train)
    assert sum(len(row["input_ids"]) for row in general) / size == pytest.approx(share, abs=0.01)
    assert {row["split"] for row in general} == {"train"}
    assert len({tuple(row["input_ids"]) for row in general}) == len(general)
    (entry,) = [entry for entry in found.audit if entry["source"] == "general"]
    assert (entry["documents"], entry["rows"]) == (600, len(general))
    again = build_mixture(documents, chats, smollm, config)
    assert by_content(again.train) == by_content(found.train)
    other = build_mixture(documents, chats, smollm, replace(config, seed=1))
    assert by_content(other.train) != by_content(found.train)
    kinds = [row["source"] == "general" for row in found.train]
    assert any(kinds[: len(kinds) // 4]) and any(kinds[-len(kinds) // 4 :])  # mixed in, not put behind


def test_general_chats_by_the_mixtures_settings(documents, chats, smollm, general_file, capsys):
    """The loss, and the shipped general chats beside those of the file."""
    shipped = [chat_of(None, n, "general") for n in range(30)]
    config = replace(CONFIG, general=str(general_file), loss_on="assistant")
    found = build_mixture(documents, chats + shipped, smollm, config)
    assert "were wanted" not in capsys.readouterr().out
    rows = [row for row in found.train if row["source"] == "general"]
    assert all(row["labels"] != row["input_ids"] for row in rows)
    (entry,) = [entry for entry in found.audit if entry["source"] == "general"]
    held_out = sum(row["split"] == "validation" for row in shipped)
    assert (entry["documents"], entry["validation_rows"]) == (630, held_out) and held_out > 0


def test_general_chats_stay_out_of_raw_text(documents, chats, smollm, general_file):
    config = replace(CONFIG, general=str(general_file), order="raw_only")
    assert {row["source"] for row in build_mixture(documents, chats, smollm, config).train} == set(RAW_SOURCES)
    both = build_mixture(documents, chats, smollm, replace(config, order="raw_then_chat")).train
    kinds = [row["source"] in RAW_SOURCES for row in both]
    assert kinds == sorted(kinds, reverse=True)


def test_too_few_general_chats(documents, chats, smollm, general_file, capsys):
    found = build_mixture(documents, chats, smollm, replace(CONFIG, general=str(general_file), general_share=0.9))
    (entry,) = [entry for entry in found.audit if entry["source"] == "general"]
    assert entry["rows"] + entry["dropped"] == 600 and entry["rows"] > 100
    assert "tokens, " in capsys.readouterr().out


def test_general_chats_over_the_limit_are_counted(documents, chats, smollm, tmp_path):
    path = tmp_path / "g.jsonl"
    messages = [{"role": "user", "content": "Count."}, {"role": "assistant", "content": "one two three " * 60}]
    path.write_text(json.dumps({"messages": messages}) + "\n", encoding="utf-8")
    cases: list[tuple[Overflow, tuple[int, int, int]]] = [("drop", (0, 1, 0)), ("cut", (1, 0, 1))]
    for overflow, wanted in cases:
        config = replace(CONFIG, general=str(path), general_share=0.3, overflow=overflow)
        (entry,) = [e for e in build_mixture(documents, chats, smollm, config).audit if e["source"] == "general"]
        assert (entry["rows"], entry["dropped"], entry["truncated"]) == wanted
    with pytest.raises(SetupError, match=r"g\.jsonl, row 1: it has \d+ tokens, over max_length=64"):
        build_mixture(documents, chats, smollm, replace(CONFIG, general=str(path), overflow="refuse"))


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"text": "x"}', r"g\.jsonl, line 2, no known format: found the fields 'text'"),
        (
            '{"messages": [{"role": "user", "content": "x"}]}',
            r"g\.jsonl, line 2, messages\[0\]\.role: found 'user'.*There is no answer",
        ),
        ("{", r"g\.jsonl, line 2: not valid JSON"),
    ],
)
def test_a_bad_general_chat_is_named(documents, chats, smollm, tmp_path, line, reason):
    good = json.dumps({"messages": chat_of("code:1")["messages"]})
    (tmp_path / "g.jsonl").write_text(f"{good}\n{line}\n", encoding="utf-8")
    with pytest.raises(SetupError, match=reason):
        build_mixture(documents, chats, smollm, replace(CONFIG, general=str(tmp_path / "g.jsonl")))


def test_general_chats_that_are_not_there(documents, chats, smollm, tmp_path):
    with pytest.raises(SetupError, match=r"nowhere\.jsonl can't be read \(No such file"):
        build_mixture(documents, chats, smollm, replace(CONFIG, general=str(tmp_path / "nowhere.jsonl")))
    with pytest.raises(SetupError, match="general chats 'nobody/nothing' can't be read"):
        build_mixture(documents, chats, smollm, replace(CONFIG, general="nobody/nothing"))


@pytest.mark.parametrize("change", [{"general_share": 0.0}, {"general_share": 1e-6}, {"order": "chat_only"}])
def test_no_room_for_general_chats(documents, smollm, general_file, change):
    """A share of nothing, or of next to nothing, is nothing."""
    config = replace(CONFIG, general=str(general_file), **change)
    chats = [] if "order" in change else [chat_of(documents[0]["id"])]
    if "order" in change:
        with pytest.raises(SetupError, match="nothing to train on"):
            build_mixture(documents, chats, smollm, config)
        return
    found = build_mixture(documents, chats, smollm, config)
    assert not [row for row in found.train if row["source"] == "general"]


def test_general_chats_do_not_ask_what_is_held_out(documents, chats, smollm, tmp_path):
    held_out = next(chat for chat in chats if chat["split"] == "validation")
    other = [{"role": "user", "content": "What is a tide?"}, {"role": "assistant", "content": "The sea, rising."}]
    path = tmp_path / "g.jsonl"
    path.write_text("".join(json.dumps({"messages": m}) + "\n" for m in (held_out["messages"], other)))
    config = replace(CONFIG, general=str(path), general_share=0.5)
    found = build_mixture(documents, chats, smollm, config)
    (entry,) = [entry for entry in found.audit if entry["source"] == "general"]
    assert (entry["rows"], entry["near_duplicates"]) == (1, 1)
    (row,) = [row for row in found.train if row["source"] == "general"]
    assert "tide" in smollm.decode(row["input_ids"])
    kept = build_mixture(documents, chats, smollm, replace(config, drop_near_duplicates=False))
    assert sum(row["source"] == "general" for row in kept.train) == 2


def test_a_data_set_with_rows_that_are_no_chats(documents, chats, smollm, tmp_path):
    """Nobody can mend a row of a data set: what can't be trained on is left out and counted."""
    good = [{"role": "user", "content": "Count."}, {"role": "assistant", "content": "One."}]
    rows = [good, good[:1], [{"role": "tool", "content": "x"}, *good], [{**good[0], "content": ""}, good[1]]]
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "train.jsonl").write_text("".join(json.dumps({"messages": row}) + "\n" for row in rows))
    config = replace(CONFIG, general=str(tmp_path / "set"), general_share=0.5)
    found = build_mixture(documents, chats, smollm, config)
    (entry,) = [entry for entry in found.audit if entry["source"] == "general"]
    assert (entry["documents"], entry["rows"], entry["dropped"]) == (4, 1, 3)
    (tmp_path / "set" / "test.jsonl").write_text(json.dumps({"messages": good}) + "\n")
    config = replace(config, general=f"{tmp_path / 'set'}:test")
    (entry,) = [e for e in build_mixture(documents, chats, smollm, config).audit if e["source"] == "general"]
    assert (entry["documents"], entry["rows"]) == (1, 1)


SETTINGS = {"max_length": 64, "loss_on": "all", "overflow": "drop", "system": "merge"}


def general(path, chats):
    path.write_text("".join(json.dumps({"messages": messages}) + "\n" for messages in chats), encoding="utf-8")
    return str(path)


def test_not_one_chat_more_than_wanted(smollm, tmp_path, capsys):
    file = general(tmp_path / "g.jsonl", [conversation(["Who?", "Me."])] * 9)
    each = len(encode_chat(smollm, conversation(["Who?", "Me."]))["input_ids"])
    for wanted, number in ((0, 0), (5 * each, 5), (5 * each + 1, 6), (9 * each, 9)):
        assert len(general_rows(file, smollm, wanted, 0, **SETTINGS)[0]) == number
    assert capsys.readouterr().out == ""


def test_the_order_of_the_file_does_not_matter(smollm, tmp_path):
    chats = [conversation([f"{n}?", "So."]) for n in range(50)]
    found = [
        general_rows(general(tmp_path / "g.jsonl", turned), smollm, 300, 0, **SETTINGS)[0]
        for turned in (chats, chats[::-1])
    ]
    assert found[0] == found[1]


def test_what_is_done_to_a_general_chat_is_counted(smollm, mistral, tmp_path):
    system = [{"role": "system", "content": "x"}, *conversation(["y \x04", "z"])]
    file = general(tmp_path / "s.jsonl", [system])
    with pytest.raises(SetupError, match=r"s\.jsonl, row 1: .*refused the messages"):
        general_rows(file, mistral, 10, 0, **SETTINGS | {"system": "refuse"})
    assert general_rows(file, mistral, 10, 0, **SETTINGS)[1]["system_merged"] == 1
    assert general_rows(file, smollm, 10, 0, **SETTINGS)[1]["replaced"] == 1


def test_a_general_file_in_the_home_folder(smollm, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    general(tmp_path / "mine.txt", [conversation(["Who?", "Me."])])
    assert len(general_rows("~/mine.txt", smollm, 5, 0, **SETTINGS)[0]) == 1


def test_general_chats_may_be_of_any_format_that_dialogues_have(documents, chats, smollm, tmp_path):
    (tmp_path / "g.jsonl").write_text(
        '{"instruction": "Name a colour.", "output": "Red."}\n'
        '{"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello!"}]}\n',
        encoding="utf-8",
    )
    config = replace(CONFIG, general=str(tmp_path / "g.jsonl"), general_share=0.5)
    rows = [row for row in build_mixture(documents, chats, smollm, config).train if row["source"] == "general"]
    shown = [smollm.decode(row["input_ids"]) for row in rows]
    assert any("Name a colour." in text and "Red." in text for text in shown) and any(
        "Hello!" in text for text in shown
    )
