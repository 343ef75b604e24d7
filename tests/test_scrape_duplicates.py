"""ftlib.scrape.duplicates: what counts as a copy, against an index that is counted pair by pair."""

import json
import os
import random
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftlib.errors import SetupError
from ftlib.scrape.duplicates import Duplicates


def document(name, text, source="code"):
    return {"id": name, "text": text, "source": source}


def found(texts, threshold=0.85, source="code"):
    """What `find` says of texts called "0", "1", ..."""
    seen = Duplicates(threshold)
    rows = [seen.find(document(str(number), text, source)) for number, text in enumerate(texts)]
    return [row and (row["id"], row["of"], row["similarity"], row["kind"]) for row in rows]


def prose(seed=0, words=400):
    pick = random.Random(seed)
    return [f"{pick.choice('abcdefghij')}word{pick.randrange(3000)}" for _ in range(words)]


def changed(words, every, by="other"):
    return [f"{by}{n}" if n % every == every // 2 else word for n, word in enumerate(words)]


def index(one, other):
    """The Jaccard index of two texts' pairs of words, counted."""
    pairs = [{(a, b) for a, b in zip(text.split(), text.split()[1:], strict=False)} for text in (one, other)]
    return len(pairs[0] & pairs[1]) / len(pairs[0] | pairs[1])


COMPONENT = """import React from 'react';
import {{ css }} from '@emotion/react';
import {{ Button }} from '../shared/Button';

interface {0}Props {{
  onClose: () => void;
}}

export const {0} = ({{ onClose }}: {0}Props) => {{
{1}
  return (
    <section css={{css`padding: 1rem;`}}>
{2}
      <Button onClick={{onClose}}>Close</Button>
    </section>
  );
}};
"""
MEMBERS = COMPONENT.format(
    "MemberList",
    "  const members = useQuery('/members', { retry: 2 });\n  const [page, setPage] = useState(0);\n"
    "  if (members.error) {\n    return <p>The list could not be read. Try again.</p>;\n  }",
    "      <h2>All members</h2>\n      <ol>\n        {members.data.slice(page * 20, page * 20 + 20).map((member) => (\n"
    "          <li key={member.id}>{member.name}</li>\n        ))}\n      </ol>",
)
REFUND = COMPONENT.format(
    "RefundForm",
    "  const amount = useRef<HTMLInputElement>(null);\n  const send = async () => {\n"
    "    await fetch('/refund', { method: 'POST', body: amount.current?.value });\n  };",
    '      <label htmlFor="amount">How much shall be paid back?</label>\n'
    '      <input id="amount" ref={amount} type="number" min={1} />\n      <Button onClick={send}>Refund</Button>',
)


def test_line_ends_and_trailing_white_space_are_no_difference():
    text = "def f():\n    return 1\n"
    same = ["def f():\r\n    return 1", "def f():  \n    return 1\t\n\n\n", "def f():\r    return 1\r"]
    assert found([text, *same]) == [None, *[(str(n), "0", 1.0, "exact") for n in (1, 2, 3)]]
    assert found([text, "def f():\n\treturn 1\n", "\ndef f():\n    return 1\n"]) == [None] * 3


def test_a_page_with_a_word_changed_in_each_paragraph_is_found():
    paragraphs = [prose(seed, 40) for seed in range(12)]
    page = "\n\n".join(map(" ".join, paragraphs))
    other = "\n\n".join(" ".join(changed(words, 40, f"new{n}x")) for n, words in enumerate(paragraphs))
    assert found([page, other]) == [None, ("1", "0", round(index(page, other), 4), "near")]
    assert index(page, other) < 0.92


def test_components_from_one_template_differ():
    renamed = MEMBERS.replace("MemberList", "PeopleList")
    assert found([MEMBERS, REFUND]) == [None, None]
    assert found([MEMBERS, REFUND, renamed], 0.8) == [None, None, ("2", "0", round(index(MEMBERS, renamed), 4), "near")]


def test_indentation_and_line_breaks_are_no_difference_to_near_ones():
    words = prose()
    assert found([" ".join(words), "\n\t".join(words)])[1] == ("1", "0", 1.0, "near")


def test_short_documents_are_only_exact_duplicates():
    for count, kind in ((20, None), (21, "near")):
        words = prose(1, count)
        rows = found([" ".join(words), "\n".join(words), " ".join(words) + "\n"])
        assert (rows[1] and rows[1][3]) == kind and rows[2] == ("2", "0", 1.0, "exact")


def test_the_most_similar_one_that_stays_is_named():
    base = prose(2)
    near, nearer = changed(base, 40, "n"), changed(base, 15, "m")
    texts = [" ".join(words) for words in (nearer, base, near, near)]
    assert [row and row[1] for row in found(texts, 0.9)] == [None, None, "1", "1"]
    # The third is near the second, which is dropped for the first: it stays, as nothing that stays says the same.
    chain = [" ".join(changed(base[:n] + prose(3)[n:], 1000)) for n in (0, 24, 48)]
    assert [row and row[1] for row in found(chain, 0.85)] == [None, "0", None]


def test_a_copy_of_a_dropped_document_repeats_the_one_that_stays():
    one, near = prose(4), changed(prose(4), 50)
    assert [row and row[1:] for row in found([" ".join(words) for words in (one, near, near)])] == [
        None,
        *[("0", round(index(" ".join(one), " ".join(near)), 4), "near")] * 2,
    ]


def test_pull_requests_are_compared_with_their_like():
    seen, text, near = Duplicates(), " ".join(prose(5)), " ".join(changed(prose(5), 100))
    of = []
    for name, words, source in [("c", text, "code"), ("p", text, "pull_request"), ("d", text, "docs"),
                                ("q", near, "pull_request"), ("w", near, "wiki")]:  # fmt: skip
        row = seen.find(document(name, words, source))
        of.append((name, row and row["of"]))
    assert of == [("c", None), ("p", None), ("d", "c"), ("q", "p"), ("w", "c")]


def test_texts_without_spaces_are_compared_letter_by_letter():
    pick = random.Random(6)
    letters = [chr(pick.randrange(0x4E00, 0x9000)) for _ in range(400)]
    other = [chr(0x9001 + n) if n % 40 == 7 else letter for n, letter in enumerate(letters)]
    rows = found(["".join(letters), "".join(other), "".join(pick.sample(letters, 400))])
    assert rows == [None, ("1", "0", 0.9045, "near"), None]


def test_empty_and_odd_texts():
    assert found(["", "\n \n", "😀" * 3, "😀" * 3, "a\0b", "é" * 50_000, "x " * 50_000, "x\n" * 50_000]) == [
        None, ("1", "0", 1.0, "exact"), None, ("3", "2", 1.0, "exact"), None, None, None, ("7", "6", 1.0, "near")
    ]  # fmt: skip


@pytest.mark.parametrize("threshold", [0.0, 0.49, 1.01, -1.0, float("nan")])
def test_threshold_that_makes_no_sense(threshold):
    with pytest.raises(SetupError, match="between 0.5 and 1"):
        Duplicates(threshold)


@pytest.mark.parametrize("threshold", [0.5, 0.6, 0.7, 0.85, 0.95, 1.0])
def test_threshold(threshold):
    """Of 90 texts that differ from the first in 1 to 90 words, all and only those at or above the threshold go."""
    base = prose(7, 300)
    texts = [" ".join(changed(base, 300, "z"))]
    texts += [" ".join(changed(base[:-n] + [f"y{i}" for i in range(n)], 300, "z")) for n in range(1, 90)]
    expected = [round(index(texts[0], text), 4) for text in texts[1:]]
    for text, similarity in zip(texts[1:], expected, strict=True):
        row = found([texts[0], text], threshold)[1]
        assert row == (("1", "0", similarity, "near") if similarity >= threshold else None)


def test_the_threshold_itself_is_similar_enough():
    # 300 pairs each, 200 of them shared: an index of 0.5, to the last bit.
    one, other = prose(8, 301), [*prose(8, 201), *prose(9, 100)]
    assert index(" ".join(one), " ".join(other)) == 0.5
    assert found([" ".join(one), " ".join(other)], 0.5)[1] == ("1", "0", 0.5, "near")


edits = st.lists(
    st.tuples(st.integers(0, 119), st.sampled_from(["cut", "put", "swap"]), st.integers(0, 9)), max_size=25
)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.integers(0, 2), edits), min_size=2, max_size=7), st.sampled_from([0.6, 0.75, 0.85, 0.9]))
def test_all_pairs_counted_agree(plans, threshold):
    texts = []
    for seed, plan in plans:
        words = prose(seed, 120)
        for place, what, new in plan:
            place %= len(words)
            if what == "cut":
                del words[place]
            else:
                words[place : place + (what == "swap")] = [f"new{new}"]
        texts.append(" ".join(words))
    expected: list[tuple[str, str, float, str] | None] = []
    kept: list[int] = []
    for number, text in enumerate(texts):
        same = next((n for n in kept if texts[n] == text), None)
        best = max(((index(texts[n], text), -n) for n in kept), default=(0.0, 0))
        if same is not None:
            expected.append((str(number), str(same), 1.0, "exact"))
        elif best[0] >= threshold:
            expected.append((str(number), str(-best[1]), round(best[0], 4), "near"))
        else:
            expected.append(None)
            kept.append(number)
    assert found(texts, threshold) == expected


def test_the_same_in_every_process():
    program = "import json, sys; from test_scrape_duplicates import *; print(json.dumps(found(json.load(sys.stdin))))"
    texts = [" ".join(changed(prose(n % 5), 30 + n, f"v{n}")) for n in range(40)]
    here = json.loads(json.dumps(found(texts)))
    assert any(here) and not all(here)
    for seed in "12":
        environment = {
            **os.environ,
            "PYTHONHASHSEED": seed,
            "PYTHONPATH": os.pathsep.join([os.path.dirname(__file__), *sys.path]),
        }
        done = subprocess.run(
            [sys.executable, "-c", program],
            input=json.dumps(texts),
            capture_output=True,
            text=True,
            env=environment,
            check=True,
        )
        assert json.loads(done.stdout) == here
