"""What the model will see, counted from the rows themselves and held against what went in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ftlib import chat, tokens
from ftlib.chunking import IGNORE
from ftlib.errors import SetupError
from ftlib.rows import arrays, fingerprint

RAW_SOURCES = ("wiki", "docs", "code", "pull_request", "issue", "discussion")
# What is counted while the rows are made, by source. Rows, tokens and checksum (the sum of the rows' fingerprints) must
# be found again in the mixture, for the rows to train on and for those held out.
TALLY = (
    "documents",
    "dropped",
    "truncated",
    "near_duplicates",
    "other_wordings",
    "system_merged",
    "replaced",
    "rows",
    "tokens",
    "checksum",
    "validation_rows",
    "validation_tokens",
    "validation_checksum",
)
FOUND = (*TALLY, "tokens_with_loss", "bos", "eos")  # what is counted in the rows


def new_tally() -> dict[str, int]:
    return dict.fromkeys(TALLY, 0)


def audit(
    train: Any, validation: Any, tallies: Mapping[str, Mapping[str, int]], tokenizer: Any
) -> list[dict[str, Any]]:
    """Count, by source, what the model will see in one epoch.

    Args:
        train, validation: the rows, a `datasets.Dataset` or a list of dicts.
        tallies: by source, what was counted while the rows were made (see TALLY).

    Returns:
        one dict a source: documents (or chats) read; rows and tokens to train on; tokens_with_loss (labels that a token
        before them predicts: never a row's first); validation_rows; dropped, truncated (chats over max_length);
        near_duplicates (held-out questions that are trained on); other_wordings (of held-out chats, measured in one);
        system_merged (system messages put into the user's); replaced (characters that the tokenizer has no token for);
        bos, eos (tokens in the rows to train on).

    Raises:
        SetupError: a row, token or label that was made and is not here, or another in its place; a second BOS, or none
            where one belongs; a control token inside raw text; a row with no loss, or with labels that are not its own
            tokens.
    """
    import numpy as np

    bos, eos = tokens.bos_ids(tokenizer), tokens.eos_id(tokenizer)
    control = np.array(sorted(tokens.control_ids(tokenizer)))
    template_bos = bool(bos) and chat.begins_with(tokenizer, bos)
    found: dict[str, dict[str, int]] = {}
    for rows, prefix in ((train, ""), (validation, "validation_")):
        for row in arrays(rows):
            entry = found.setdefault(row["source"], dict.fromkeys(FOUND, 0))
            ids, labels = row["input_ids"], row["labels"]
            entry[f"{prefix}rows"] += 1
            entry[f"{prefix}tokens"] += len(ids)
            entry[f"{prefix}checksum"] += fingerprint(row)
            kept = labels != IGNORE
            raw = row["source"] in RAW_SOURCES
            if reason := _fault(ids, labels, kept, bos, eos, control if raw else None, template_bos):
                raise SetupError(f"A row of {row['document_id'] or row['source']} {reason}.")
            if prefix:
                continue
            entry["tokens_with_loss"] += int(kept[1:].sum())
            entry["bos"] += int((ids == bos[0]).sum()) if bos else 0
            entry["eos"] += int((ids == eos).sum())
    for source in found:
        if source not in tallies:
            raise SetupError(f"Rows of {source!r} are in the mixture that nothing made.")
    table = []
    for source, tally in tallies.items():
        entry = found.get(source, dict.fromkeys(FOUND, 0))
        for name in ("rows", "tokens", "validation_rows", "validation_tokens"):
            if entry[name] != tally[name]:
                raise SetupError(
                    f"{source}: {tally[name]:,} {name.replace('_', ' ')} were made, {entry[name]:,} are in the mixture."
                )
        for name in ("checksum", "validation_checksum"):
            if entry[name] != tally[name]:
                raise SetupError(f"{source}: the rows in the mixture are not those that were made.")
        table.append(
            {
                "source": source,
                "documents": tally["documents"],
                **{name: entry[name] for name in ("rows", "tokens", "tokens_with_loss", "validation_rows")},
                **{name: tally[name] for name in TALLY[1 : TALLY.index("rows")]},
                **{name: entry[name] for name in ("bos", "eos")},
            }
        )
    return table


def _fault(ids: Any, labels: Any, kept: Any, bos: list[int], eos: int, control: Any, template_bos: bool) -> str:
    """What is wrong with a row; "" where nothing is. `control`: the ids that no raw text may hold inside."""
    import numpy as np

    if len(labels) != len(ids) or (labels[kept] != ids[kept]).any():
        return "has labels that are not its own tokens"
    if not kept[1:].any():
        return "carries no loss; it would teach nothing"
    places = np.flatnonzero(ids == bos[0]) if bos else np.array([], dtype=int)
    if bos and (control is not None or template_bos) and ids[0] != bos[0]:
        return f"has {len(places)} BOS tokens and does not begin with one"
    # Llama 2's template begins each turn anew, with a BOS after the EOS of the turn before.
    again = [place for place in places[places > 0] if control is not None or ids[place - 1] != eos]
    if bos and bos[0] != eos and again:
        return f"has a BOS token at position {again[0]}; one was expected, at the beginning"
    if control is not None:
        inside = ids[len(bos) : -1]
        for place in np.flatnonzero(np.isin(inside, control))[:1]:
            return f"has the control token {inside[place]} inside its text, at position {place + len(bos)}"
    return ""
