"""How facts that changed are asked for: two wordings of each question, and the forms of its answer."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from ftlib.metrics import has_keywords

# By form: the question of the evaluation, and one for training in words so different that it is no near-duplicate.
_WORDINGS = {
    "version": (
        "Which version of {subject} does {place} of {project} ask for?",
        "Tell me what {project} requires of the dependency {subject} in {place}, and what it was before.",
    ),
    "image": (
        "Which tag of the image {subject} does {place} of {project} use?",
        "Tell me on what release of {subject} {project} is built by {place}, and whether that was always so.",
    ),
    "action": (
        "At which version does {place} of {project} use the action {subject}?",
        "Tell me how {project} pins {subject} in its workflow {place}, and how it was pinned before.",
    ),
    "constant": (
        "What is the value of the constant {subject} in {place} of {project}?",
        "Tell me what {project} defines {subject} as in {place}, and since when.",
    ),
    "file": (
        "Which version does the file {place} of {project} name?",
        "Tell me what {project} has in {place} today, and what was there before.",
    ),
    "key": (
        "What is {subject} set to in {place} of {project}?",
        "Tell me how {project} configures {subject} in its file {place}, and since when.",
    ),
    "replacement": (
        "{subject} was once used in {project}. What is used in its place now?",
        "Tell me what has become of {subject} in {project}, and since when.",
    ),
    **{
        form: (
            f"Which {what} now fills the blank in this line of the {{place}} of {{project}}: “{{subject}}”?",
            "The documentation of {project} has the line “{subject}” in its {place}. Tell me what stands there "
            "instead of the blank today, and since when that is so.",
        )
        for form, what in (("number", "number"), ("name", "name"), ("code", "value"))
    },
}


def wordings(form: str, subject: str, place: str, project: str) -> tuple[str, str]:
    """The question of the evaluation, and another wording for training."""
    one, other = (text.format(subject=subject, place=place, project=project) for text in _WORDINGS[form])
    return one, other


def key_subject(name: str, above: Sequence[str]) -> str:
    """A key with the blocks that it stands in."""
    return f"`{name}` under `{'.'.join(above)}`" if above else f"`{name}`"


def places(documents: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """How a question names each document: a page by its title where no other has that one, else by its path."""
    documents = list(documents)
    pages = {"docs": "page", "wiki": "wiki page"}
    seen = Counter((row["source"], row["title"].casefold()) for row in documents)
    return {
        row["id"]: row["path"]
        if row["source"] not in pages
        else f'{pages[row["source"]]} "{row["title"]}"'
        if seen[row["source"], row["title"].casefold()] == 1
        else f"{pages[row['source']]} {row['path']}"
        for row in documents
    }


def keywords_of(form: str, value: str) -> list[str]:
    """What an answer must hold, as `ftlib.metrics` reads it: the value, and other ways to write it as alternatives.

    Of a version or a range of them each number must be there, and none of the signs round it.
    """
    value = value.strip("` ")
    if form == "version" or re.match(r"[~^<>=]+\s*\d", value):
        numbers = dict.fromkeys(re.findall(r"v?\d[\w.*+-]*", value))
        return [f"{number}|{number[1:]}" if number[0] == "v" else number for number in numbers] or [value]
    forms = [value]
    if re.fullmatch(r"v\d[\w.]*", value):
        forms.append(value[1:])
    if re.fullmatch(r"\d+(?:[_,]\d{3})+", value):
        plain = re.sub(r"[_,]", "", value)
        forms += [plain, f"{int(plain):,}"]
    return ["|".join(dict.fromkeys(forms))]


def gives_away(question: str, values: Iterable[str]) -> bool:
    """Whether a question holds one of the values, or of the alternatives in a keyword."""
    return any(has_keywords(question, [form]) for value in values for form in value.strip("`").split("|") if form)


def dated_answer(fact: Mapping[str, Any]) -> str:
    """`As of December 2023 it is ...; until June 2023 (pull request #12) it was ...`; with days within one month."""
    pull = f" (pull request #{fact['pull_request']})" if fact["pull_request"] else ""
    dates = [datetime.fromisoformat(fact[name].replace("Z", "+00:00")) for name in ("as_of_current", "as_of_old")]
    form = "%B %Y" if len({(date.year, date.month) for date in dates}) == 2 else "%d %B %Y"
    now, then = (date.strftime(form).lstrip("0") for date in dates)
    current, old = (value if "`" in value else f"`{value}`" for value in (fact["current"], fact["old"]))
    return f"As of {now} it is {current}; until {then}{pull} it was {old}."
