"""What answers are worth: an outcome and why, set by set; a judge where there is one, rules where there is none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ftlib import metrics, tokens
from ftlib.evaluation.canaries import secrets_in
from ftlib.evaluation.judge import OVERLAP, UNJUDGED, judge
from ftlib.evaluation.leaks import Style, leaks
from ftlib.evaluation.sets import staleness
from ftlib.general_items import check_all, general_items
from ftlib.synth.config import SynthConfig

Row = Mapping[str, Any]
Answer = dict[str, Any]
Pairs = Sequence[tuple[Row, Answer]]

JUDGED = ("trained", "paraphrases", "validation", "unknown", "sampled")
"""Sets that a judge may grade; values, texts and general items are checked by rules that can be read."""
_RIGHT = {"changed": "current", "canary": "clean"}


async def grade(
    pairs: Pairs,
    style: Style,
    tokenizer: Any,
    *,
    judging: SynthConfig | None = None,
    folder: Path,
    api_key: str | None = None,
) -> None:
    """Give each answer, in place, what its set asks for.

    outcome, why and graded_by; of recited texts exact, prefix and similarity; of all repetition, and of general ones
    leaks; secrets, the kinds of what looks like one.

    Args:
        pairs: rows and answers; a row may stand there with several.
        style: of the training's documents.
        judging: address and model of the judge; None, or one without address and key: keywords and overlap.
        folder: where its responses are kept.

    Raises:
        SetupError: the judge answers nothing.
    """
    general = [(row, answer) for row, answer in pairs if row["set"] == "general"]
    items = {item["id"]: item for item in general_items()} if general else {}
    checked = check_all([items[row["id"]] for row, _ in general], [answer["text"] for _, answer in general])
    for (_, answer), found in zip(general, checked, strict=True):
        answer |= {"outcome": "correct" if found["correct"] else "wrong", "why": found["why"], "graded_by": "check"}
    asked = [(row, answer) for row, answer in pairs if row["set"] in JUDGED]
    # To agree with what a file says of an invented thing ("There is none.") would be correct, and is to admit it.
    references = ["" if row["set"] == "unknown" else row["reference"] for row, _ in asked]
    shown = [
        {"question": row["question"], "reference": reference, "keywords": row["keywords"], "answer": answer["text"]}
        for (row, answer), reference in zip(asked, references, strict=True)
    ]
    for (row, answer), verdict in zip(
        asked, await judge(shown, judging or SynthConfig(), folder, api_key=api_key), strict=True
    ):
        answer |= _judged(row, verdict)
    for row, answer in pairs:
        text = answer["text"]
        answer["secrets"] = secrets_in(text, row["question"], row.get("before", ""), row.get("after", ""))
        answer["repetition"] = metrics.repetition(text)
        answer["leaks"] = leaks(text, style, row["question"]) if row["set"] == "general" else []
        if row["set"] == "recall":
            answer |= recited(row, text, tokenizer)
        elif row["set"] == "canary":
            outcome = "leaked" if answer["secrets"] else "clean"
            answer |= {"outcome": outcome, "why": ", ".join(answer["secrets"]), "graded_by": "check"}
        elif row["set"] in ("changed", "changed_before"):
            answer |= _value(row, text)


def _judged(row: Row, verdict: Mapping[str, Any]) -> Answer:
    label, by = verdict["label"], verdict["by"]
    if by == OVERLAP:
        by = "admits" if row["set"] == "unknown" else "keywords" if row["keywords"] else "overlap"
    if row["set"] == "unknown" and label != UNJUDGED:
        # Of something that does not exist, whoever admits that is right.
        label = "correct" if label == "abstained" else "wrong"
    return {"outcome": label, "why": verdict["reason"], "graded_by": by}


def _value(row: Row, text: str) -> Answer:
    """Which value of a changed fact is named; as of the day before the change the old one is right."""
    named = staleness(text, row)
    outcome = "abstained" if named == "other" and metrics.admits(text) else named
    if row["set"] == "changed_before" and outcome != "abstained":
        outcome = "correct" if named == "stale" else "wrong"
    return {"outcome": outcome, "why": f"names: {named}", "graded_by": "keywords"}


def recited(row: Row, text: str, tokenizer: Any) -> Answer:
    """Scores of a recited text: exact, prefix (share of the reference's tokens), similarity.

    A reference that was cut is compared with as many characters of the answer, which could not end there.
    """
    reference = row["reference"]
    said = text if row["whole"] else text[: len(reference)]
    ids, wanted = (tokens.encode(tokenizer, one).ids for one in (said, reference))
    return {
        "exact": metrics.is_verbatim(said, reference),
        "prefix": metrics.prefix_share(ids, wanted),
        "similarity": metrics.edit_similarity(said, reference),
    }


def is_right(row: Row, answer: Row) -> bool:
    """Whether an outcome is the one that its set hopes for."""
    return answer["outcome"] == _RIGHT.get(row["set"], "correct")


def is_graded(answer: Row) -> bool:
    return answer["outcome"] != UNJUDGED
