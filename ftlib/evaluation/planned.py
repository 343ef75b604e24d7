"""Everything that both models are asked, as rows of samples.jsonl, in the order of the report."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any

from ftlib import tokens
from ftlib.evaluation import sets
from ftlib.evaluation.canaries import canaries
from ftlib.evaluation.config import EvalConfig
from ftlib.evaluation.invented import invented
from ftlib.general_items import general_items
from ftlib.mixture import split_of
from ftlib.workspace import Workspace, read_jsonl, read_manifest, skipped_paths

Row = dict[str, Any]
Group = Callable[[Row], Hashable]

# What each set is for, in the order of the report.
SETS = {
    "trained": "Trained questions",
    "paraphrases": "The same in other words, untrained",
    "validation": "Questions on held-out documents",
    "changed": "Facts that changed, asked now",
    "changed_before": "Facts that changed, asked as of the day before",
    "unknown": "Invented things: does it admit it?",
    "general": "General: knowledge, instructions, code",
    "recall": "Texts to recite",
    "canary": "Redacted secrets, asked for",
    "sampled": "Trained questions, sampled",
}
ANSWERED = ("trained", "paraphrases", "validation", "changed", "changed_before", "unknown", "general")
"""Sets whose answers are right or wrong."""
_LONGEST = 12  # characters of a token, at most, where texts are cut before they are encoded


def planned(
    workspace: Workspace, tokenizer: Any, config: EvalConfig, names: Sequence[str], validation_share: float = 0.1
) -> list[Row]:
    """The rows, each with set, id, document_id, question, reference, keywords and what its set has beside them.

    Args:
        names: of the project, its own first.
        validation_share: of the run's mixture, for what counts as held out; 0: nothing does.

    Raises:
        SetupError: chats.jsonl is missing or stale, or trains on all wordings of a recited text.
    """
    questions = sets.questions(workspace)
    documents, chats = list(read_jsonl(workspace.documents)), list(read_jsonl(workspace.chats))
    for row in questions:
        if row["set"] == "changed":
            row["kind"] = row["when"]
            row["set"] = "changed_before" if row["when"] == "before" else "changed"
        elif row["set"] == "unknown":
            row["kind"] = "yours"
        elif row["set"] == "paraphrases" and split_of(row["document_id"], validation_share) == "validation":
            row["set"] = "validation"  # its question was not trained on in any words
        elif row["set"] == "validation" and not validation_share:
            row["set"] = "trained"  # nothing was held out
    others = skipped_paths(read_manifest(workspace.documents) or {})
    # What a chat was trained to disown is no test of it.
    others += [one.get("invented", "") for one in chats if one["method"] == "unknown"]
    asked = questions + [
        {**row, "kind": row["invented"]}
        for row in invented(documents, names[0], count=config.invented, seed=config.seed, others=others)
    ]
    drawn = draw(asked, config.questions_limit, lambda row: row["set"], config.seed)
    general = [_general(item) for item in general_items()]
    if config.general_limit:
        general = spread(general, config.general_limit, lambda row: row["kind"], config.seed)
    texts = sets.recitals(chats, documents, names[0], validation_share)
    texts = [row for row in texts if validation_share or row["set"] != "control"]
    redacted = canaries(documents, names[0], count=config.canaries, seed=config.seed) if config.canaries else []
    rows = [*drawn, *general, *_recited(texts, tokenizer, config), *redacted]
    order = list(SETS)
    return sorted(rows, key=lambda row: order.index(row["set"]))


def draw(rows: Sequence[Row], count: int, group: Group, seed: int) -> list[Row]:
    """Of each group `count` rows, drawn by the seed, in their order; all where it is 0."""
    return _drawn(rows, {key: min(count or size, size) for key, size in Counter(map(group, rows)).items()}, group, seed)


def spread(rows: Sequence[Row], count: int, group: Group, seed: int) -> list[Row]:
    """`count` rows in all, of each group its part of them, in their order; none has two before each has one."""
    sizes = Counter(map(group, rows))
    parts = dict.fromkeys(sizes, 0)
    for _ in range(min(count, len(rows))):
        # Sainte-Laguë's divisors: no part is more than its group has.
        parts[max(sizes, key=lambda key: (not parts[key], sizes[key] / (2 * parts[key] + 1)))] += 1
    return _drawn(rows, parts, group, seed)


def _drawn(rows: Sequence[Row], parts: Mapping[Hashable, int], group: Group, seed: int) -> list[Row]:
    by_group: dict[Hashable, list[int]] = defaultdict(list)
    for number, row in enumerate(rows):
        by_group[group(row)].append(number)
    kept: set[int] = set()
    for key, numbers in by_group.items():
        kept.update(random.Random(f"{seed} {key}").sample(numbers, parts[key]))
    return [row for number, row in enumerate(rows) if number in kept]


def _general(item: Mapping[str, Any]) -> Row:
    named = {"set": "general", "id": item["id"], "document_id": "", "question": item["prompt"]}
    return {**named, "reference": item["reference"], "keywords": [], "kind": item["kind"], "level": item["level"]}


# --- texts to recite --------------------------------------------------------------------------------------------------


def _recited(texts: Iterable[Row], tokenizer: Any, config: EvalConfig) -> list[Row]:
    """Of trained texts as many as are wanted, in two wordings, and held-out ones beside them; `length` in tokens.

    Those that fit are taken from all lengths; where they are too few, the shortest of the others are cut.
    """
    if not config.recall_items:
        return []
    by_kind: dict[str, list[Row]] = defaultdict(list)
    for row in texts:
        by_kind[row["set"]].append(row)
    wanted = config.recall_items
    trained = [_fitted(row, tokenizer, config.recall_tokens) for row in by_kind["recall"]]
    trained = _of_all_lengths(trained, wanted)
    reworded = {row["id"].removesuffix(":reworded"): row for row in by_kind["reworded"]}
    other = [{**row, "id": f"{row['id']}:other", "question": reworded[row["id"]]["question"]} for row in trained]
    control = _of_all_lengths([_fitted(row, tokenizer, config.recall_tokens) for row in by_kind["control"]], wanted)
    wordings = {"trained": trained, "other": other, "control": control}
    return [{**row, "set": "recall", "wording": name} for name, found in wordings.items() for row in found]


def _fitted(row: Row, tokenizer: Any, most: int) -> Row:
    reference = row["reference"].strip()
    encoded = tokens.encode(tokenizer, reference[: most * _LONGEST])
    whole = len(encoded.ids) <= most and len(reference) <= most * _LONGEST
    # A beginning of long tokens may have no more of them than are wanted.
    end = encoded.start(most) if len(encoded.ids) > most else most * _LONGEST
    text = reference if whole else reference[:end].rstrip()
    kind = "file" if row["method"] == "file_snapshot" else "page"
    length = min(len(encoded.ids), most)
    return {**row, "reference": text, "length": length, "whole": whole, "kind": kind}


def _of_all_lengths(rows: Sequence[Row], count: int) -> list[Row]:
    """Half pages and half files where there are both; of each, evenly from the shortest to the longest that fits."""
    kept: list[Row] = []
    kinds = [[row for row in rows if row["kind"] == kind] for kind in ("page", "file")]
    for number, found in enumerate(sorted(kinds, key=len)):
        part = (count - len(kept)) // (2 - number)
        whole = sorted((row for row in found if row["whole"]), key=lambda row: (row["length"], row["id"]))
        step = (len(whole) - 1) / max(1, part - 1)
        chosen = whole if len(whole) <= part else [whole[round(place * step)] for place in range(part)]
        kept += chosen + [row for row in found if not row["whole"]][: part - len(chosen)]
    return sorted(kept, key=lambda row: (row["kind"], row["length"], row["id"]))
