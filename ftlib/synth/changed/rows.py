"""The row of a fact that changed, however it was found; see `changed_facts` for its fields."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from ftlib.scrape.redaction import redact
from ftlib.synth.changed.wordings import keywords_of, wordings

Row = dict[str, Any]


def fact_row(
    key: str,
    about: tuple[str, str, str],
    values: tuple[str, str],
    document: Mapping[str, Any],
    evidence: tuple[str, str],
    project: str,
    *,
    source: str,
    dates: tuple[str, str],
    number: int | None,
    older: Sequence[str] = (),
) -> Row | None:
    """One row; None where it would hold a secret.

    Args:
        key: what its id is made of.
        about: form, subject and place.
        values, evidence: the old and the current one, and the lines that said so.
        document: where the current value stands.
        source: of the change: `pull/12` or `commit/<id>`; number: of the pull request, if it is one.
        dates: of the change, and of the snapshot.
    """
    form, subject, place = about
    old, current = values
    question, other = wordings(form, subject, place, project)
    if any(redact(text)[0] != text for text in (*evidence, question, other, *older)):
        return None
    return {
        "id": f"changed-{hashlib.sha256(key.encode()).hexdigest()[:12]}",
        "question": question,
        "old": old,
        "current": current,
        "older": list(older),
        "document_id": document["id"],
        "source_old": source,
        "source_current": document["path"],
        "path": document["path"],
        "as_of_old": dates[0],
        "as_of_current": max(dates),
        "evidence_old": evidence[0],
        "evidence_current": evidence[1],
        "pull_request": number,
        "kind": "changed",
        "form": form,
        "subject": subject,
        "place": place,
        "keywords": keywords_of("name" if form == "replacement" else form, current),
    }
