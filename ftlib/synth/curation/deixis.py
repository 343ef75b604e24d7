"""Words that point at a text which the reader of a question does not see: "the text above", "this function"."""

from __future__ import annotations

import re

_GIVEN = "(?:text|passage|excerpt|snippet|paragraph|context|article|document)"  # what a model was given
_SHOWN = f"(?:{_GIVEN}|page|documentation|section|file|information|material|content|code|example|list|table|step)s?"
_PART = "function|method|class|struct|type|module|component|script|hook|line|command|setting|option|release|changelog"
_CHANGE = "pull request|PR|commit|change|diff|patch|issue"
_SAY = "(?:say|state|mention|describe|explain|recommend|suggest|discuss|indicate|note|imply|cover|list)"
_TOLD = "(?:mentioned|described|listed|shown|stated|discussed|provided|given|noted|quoted|found|defined|used|see|as)"
_FROM = rf"(?:according to|based on|going by|as per|{_TOLD} (?:in|by))"
_PROVIDED = "(?:provided|given|attached|quoted|supplied)"
_END = r"(?=\s*(?:[,.;:?!)]|$|\b(?:is|are|was|were|do|does|did|what|which|how|why|who|when|where|to|as)\b))"
# "above the header", "below 10 MB" say where; a bare "above" or "below" points.
_BARE = r"(?!\s(?:(?:the|an?|each|every|its?|their|them|this|that|all|any|which)\b|[\d`\"'“$€£]))"


def any_of(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(patterns), re.I)


# Always a way to say "what you gave me"; compiled at the first use.
_OUTSIDE = "|".join(
    (
        rf"\bthe above\b(?! (?:the|an?)\b)|\b(?:{_SHOWN} (?:{_TOLD} )?|{_TOLD} )above\b{_BARE}",
        rf"\bthe {_PROVIDED} (?:[\w-]+ )?(?:passage|excerpt|snippet|paragraph|documentation|information|material)s?\b",
        rf"\b(?:{_FROM}|in|from) the (?:provided|attached|quoted) (?:[\w-]+ )?{_SHOWN}\b",
        rf"\b(?:{_FROM}|in|from) the {_SHOWN} {_PROVIDED}{_END}",
        r"\b(?:(?:above|below|previously|earlier)[- ](?:mentioned|described|discussed|stated)|aforementioned)\b",
        rf"\b{_TOLD} (?:earlier|previously)\b(?! (?:than|in|versions?|releases?|did|does)\b)",
        rf"\b{_FROM} (?:the|this) {_GIVEN}{_END}",
        r"\b(?:author|writer)s? of (?:the|this) (?:text|article|document)(?! of\b)",
        r"\b(?:in|from|of|by|does|to|on|as) the (?:passage|excerpt)\b(?! (?:of|field|length)\b)",
        rf"\bthe {_GIVEN} (?:{_SAY}s|{_SAY}d?|provides (?:no|information)|shows that)\b",
        r"\baccording to the (?:author|writer)s?\b(?! of\b)",
    )
)
_AHEAD = any_of(  # "the following command: `...`" and "as shown below: ..." point at what comes
    rf"\bthe following (?:[\w-]+ )?(?:{_SHOWN}|(?:{_PART})s?)\b",
    rf"\b(?:{_SHOWN} (?:{_TOLD} )?|{_TOLD} )below\b{_BARE}|\b{_TOLD} here\b(?=\s*(?:[?.,;!]|$))",
)
# These point unless something stands before that they may mean: `load()` ... the given file; PR #7 ... this change.
_THIS = any_of(rf"\b(?:this|these|the {_PROVIDED}) (?:[\w-]+ )?({_SHOWN}|{_PART}|{_CHANGE})(?:e?s)?\b")
_WHICH = any_of(
    rf"(?:^\W*(?:in|from) the {_GIVEN}|\b(?:in|from) the (?:text|snippet|paragraph))(?=\s*(?:[,.;:?!]|$))",
    r"\bin the snippet of\b",
    rf"\b(?:(?:does|do|did|has|have|would) the authors?|the authors? {_SAY}e?[sd]?)\b(?! of\b)",
)
_PRONOUN = any_of(  # at the start, before anything that it could stand for
    r"^\W*(?:(?:what|why|how|where|when|who) )?(?:is|are|was|were|does|did|do|can|has|should) (?:this|that|these)"
    r"(?: (?:for|work|do|mean|about|done|set|important|necessary|useful|safe|enough|in|on|so|\w+ed)\b|\W*$)",
    r"^\W*(?:how|what|why|where|when) (?:does|did|do) it (?:work|do|mean|return|handle)\b",
)
_DO = rf"(?:{_SAY}|do|contain|configure|define|specify|export|import|include|set|implement|return|take|throw|handle"
_DO += "|change|add|remove|fix|solve|introduce|modify|update|refactor|rename|replace|improve|affect)"
THE_FILE = any_of(  # "What does the file export" is a question only for whom the file lies before
    rf"\b(?:do|does|did) the (?:(?:page|{_GIVEN}) {_SAY}|(?:file|section|code|{_PART}|{_CHANGE}) {_DO})\b",
    rf"\b(?:purpose|role|topic|meaning|goal) of the (?:{_GIVEN}|page|file|code|{_PART})(?= (?:in|for)\b|\W*$)",
)
_NAME = re.compile(r"`|\w\(|[a-z][A-Z]|\w_\w|\w/\w|#\d|\w\.[a-z]{1,4}\b")  # code, a path, a number


def points_outside(text: str, before: str = "") -> str:
    """The words that point at what is not seen ("the text above"), or none; `before`: the question of an answer."""
    text = " ".join(text.split())
    if found := re.search(_OUTSIDE, text, re.I):
        return found[0]
    for match in _AHEAD.finditer(text):
        if not re.match(r"[^.?!:`\"“]*(?:[:`\"“]|https?)", text[match.end() : match.end() + 200]):
            return match[0]
    for match in _THIS.finditer(text):
        noun, said = match[1].casefold(), f"{before} {text[: match.start()]}"
        if before and not re.fullmatch(_GIVEN, noun):
            continue  # the question has named it
        if not _NAME.search(said) and not re.search(rf"\b{noun}s?\b", said, re.I):
            return match[0]
    if before:
        return ""
    if (found := _WHICH.search(text)) and not _NAME.search(text, 0, found.start()):
        return found[0]
    return found[0] if (found := _PRONOUN.search(text)) else ""
