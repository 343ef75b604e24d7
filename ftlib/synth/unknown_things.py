"""Things that could be in a repository and are not, of 22 kinds: made of its words, in its styles."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from ftlib.names import NAME, ROUTE, joined, name_parts, plain, stem_words
from ftlib.synth import unknown_wordings as w

Documents = Sequence[Mapping[str, Any]]

_OWN = 0.6  # how often the last word of a name, and a verb, are the repository's own
_FEW = 12  # vocabulary below which the words of the texts are taken, too
_DEFINED = re.compile(r"\b(?:function|class|def|interface|type|enum|struct|fn|func|const)\s+([A-Za-z_]\w+)")
_FUNCTION = re.compile(r"\b(?:function|def|fn|func|const)\s+([a-z]\w+)\s*(?:=\s*(?:async\s*)?)?\(")
# Runners of commands, by a file that says that they are used.
_RUNNERS = {
    "package.json": ("yarn {}", "npm run {}"),
    "Makefile": ("make {}",),
    "pyproject.toml": ("python -m {}",),
    "Cargo.toml": ("cargo {}",),
    "build.sbt": ("sbt {}",),
    "gradlew": ("./gradlew {}",),
}
_STOP = frozenset(
    "the and for with from into onto out off not all any new old add adds added get set use uses used via per has have "
    "are was our your this that when where what who how why its only also now more less pre non obj can will does must "
    "may should same each every here there then than very".split()
)


class Thing(NamedTuple):
    """Something invented: what it is said to be, how it is written, and the part of its name that is new."""

    noun: str
    name: str
    new: str
    code: bool = True  # a name of code, which may stand in backticks


class Material(NamedTuple):
    """What names are made of."""

    words: list[str]  # of the repository
    things: list[str]  # those with which names of files end: mostly nouns, which read well in a sentence
    verbs: list[str]  # with which names of functions begin
    files: list[str]
    routes: list[str]
    scopes: list[str]  # of packages, "@owner/"; an empty one
    snake: float  # share of snake_case in the names of functions
    classes: list[str]  # what a class of this repository may be said to be
    runners: list[str]
    newest: int  # number of the last pull request
    there: str  # all lines in plain spelling
    numbers: frozenset[str]


def material_of(documents: Documents, others: Sequence[str]) -> Material:
    """The words, styles and all names of documents, and of `others`."""
    code = [d for d in documents if d["source"] == "code"]
    files = [d["path"] for d in code if re.fullmatch(r"[^.]+\.\w+", d["path"].rsplit("/", 1)[-1])]
    defined = Counter(name for d in code for name in set(_DEFINED.findall(d["text"])))
    counts = Counter(word for path in files for word in set(stem_words(path)))
    counts.update(word for name in defined for word in set(name_parts(name)))
    if len(counts) < _FEW:
        found = (name for d in documents for name in NAME.findall(f"{d['title']} {d['text']}"))
        counts.update(word for name in found for word in name_parts(name))
    least = 2 if sum(number > 1 for number in counts.values()) > 5 * _FEW else 1
    usable = (word for word, number in counts.items() if number >= least and word.isascii() and word.isalpha())
    words = sorted(word for word in usable if 3 <= len(word) <= 14 and word not in _STOP)
    ends = {stem_words(path)[-1] for path in files if stem_words(path)} & {word for word in words if len(word) > 3}
    texts = [text for d in documents for text in (d["title"], d["path"], d["text"])]
    routes = {route for d in code for route in ROUTE.findall(d["text"])}
    scopes = {scope for d in code for scope in re.findall(r"[\"'](@[a-z][a-z-]+/)", d["text"])}
    names = [name for name in defined if name[0].islower()]
    functions = {name for d in code for name in _FUNCTION.findall(d["text"])}
    begin = Counter(name_parts(name)[0] for name in functions if len(name_parts(name)) > 1)
    snake = sum("_" in name for name in names) / max(1, sum(bool(re.search(r"_|[A-Z]", name)) for name in names))
    endings = {path.rsplit(".", 1)[-1] for path in files}
    named = {d["path"].rsplit("/", 1)[-1] for d in code}
    numbers = {number for text in (*texts, *others) for number in re.findall(r"\d+", text)}
    lines = {plain(line) for text in (*texts, *others) for line in text.splitlines()}
    pulls = [int(n) for d in documents if d["source"] == "pull_request" for n in re.findall(r"\d+", d["path"])[-1:]]
    return Material(
        words=words,
        things=sorted(ends) if len(ends) >= _FEW else words,
        verbs=sorted(word for word, number in begin.items() if number > 2 and word in words and word not in ends),
        files=sorted(files),
        routes=sorted(routes),
        scopes=["", "", *sorted(scopes)],
        snake=snake,
        classes=["component", "hook", "component"] if endings & {"tsx", "jsx", "vue", "svelte"} else ["class", "type"],
        runners=[r for file, all in _RUNNERS.items() if file in named for r in all] or ["make {}"],
        newest=max(pulls, default=0),
        there="\n".join(sorted(lines)),
        numbers=frozenset(numbers),
    )


def _words(m: Material, draw: random.Random, most: int = 3) -> list[str]:
    """One or two words of the repository, and at the end one that is its own, too, or an ordinary one.

    Were it always an ordinary one, a model would learn those words in place of the names.
    """
    return [*draw.sample(m.words, min(len(m.words), draw.randint(1, most - 1))), _last(m, draw)]


def _last(m: Material, draw: random.Random) -> str:
    return draw.choice(m.things if draw.random() < _OWN else w.NOUNS)


def _verb(m: Material, draw: random.Random) -> str:
    return draw.choice(m.verbs if m.verbs and draw.random() < _OWN else w.VERBS)


def _pascal(words: Sequence[str]) -> str:
    return "".join(word.capitalize() for word in words)


def _camel(words: Sequence[str]) -> str:
    return words[0] + _pascal(words[1:])


def _file(m: Material, draw: random.Random) -> Thing | None:
    if not m.files:
        return None
    home = draw.choice(m.files)
    folder, _, last = home.rpartition("/")
    stem, ending = last.split(".")
    new = joined(_words(m, draw), stem, ending)
    return Thing("file", f"{folder}/{new}.{ending}".lstrip("/"), new)


def _folder(m: Material, draw: random.Random) -> Thing | None:
    folders = [path for path in m.files if "/" in path]
    if not folders:
        return None
    parts = draw.choice(folders).split("/")[:-1]
    new = draw.choice(("-".join, _camel, "".join))(_words(m, draw, 2))
    kept = parts[: draw.randint(1, len(parts))]
    return Thing("folder", "/".join([*kept, new]) + draw.choice(("", "/")), new)


def _function(m: Material, draw: random.Random) -> Thing:
    words = [_verb(m, draw), *_words(m, draw)]
    new = "_".join(words) if draw.random() < m.snake else _camel(words)
    return Thing("function", new + draw.choice(("", "", "()")), new)


def _component(m: Material, draw: random.Random) -> Thing:
    noun, words = draw.choice(m.classes), _words(m, draw)
    new = _camel(["use", *words]) if noun == "hook" else _pascal(words)
    return Thing(noun, new, new)


def _endpoint(m: Material, draw: random.Random) -> Thing:
    homes = [route.rsplit("/", 1)[0] for route in m.routes if not re.search(r"/\d", route)] or [""]
    home = draw.choice(homes) or draw.choice(("/api", "/v2", ""))
    new = draw.choice(("-".join, "-".join, _camel))(_words(m, draw, 2))
    method = draw.choice(("", "", "", "GET ", "PUT "))
    return Thing("endpoint", f"{method}{home}/{new}" + draw.choice(("", "", "/:id")), new)


def _variable(m: Material, draw: random.Random) -> Thing:
    last = draw.choice("URL TOKEN TIMEOUT ENABLED SECRET REGION BUCKET LIMIT HOST LEVEL KEY INTERVAL_MS".split())
    new = "_".join([*_words(m, draw, 2), last]).upper()
    return Thing("environment variable", new, new)


def _command(m: Material, draw: random.Random) -> Thing:
    words = [_verb(m, draw), *draw.choice((_words(m, draw, 2), draw.sample(m.words, 1)))]
    if draw.random() < 0.3:
        new = draw.choice("-_").join(words)
        return Thing("script", f"./scripts/{new}.sh", new)
    new = draw.choice(("-".join, ":".join))(words)
    runner = draw.choice(m.runners)
    return Thing("command", runner.format(new.replace("-", "_").replace(":", "_") if "-m" in runner else new), new)


def _key(m: Material, draw: random.Random) -> Thing:
    words = [*_words(m, draw), draw.choice("limit mode size path days enabled level strategy".split())]
    new = draw.choice((_camel, "_".join, "-".join, ".".join))(words)
    return Thing(draw.choice(("configuration key", "setting", "option")), new, new)


def _package(m: Material, draw: random.Random) -> Thing:
    scope = draw.choice(m.scopes)
    new = "-".join(_words(m, draw, 2))
    return Thing("package", scope + new, new)


def _table(m: Material, draw: random.Random) -> Thing:
    new = "_".join([*_words(m, draw, 2), draw.choice("items rows log entries state".split())])
    return Thing("table", new, new)


def _flag(m: Material, draw: random.Random) -> Thing:
    words = _words(m, draw)
    if draw.random() < 0.4:
        new = _camel([*words, "test"]) if draw.random() < 0.5 else _pascal([*words, "variant"])
        return Thing("A/B test", new, new)
    new = draw.choice((_camel, "-".join, "_".join))([draw.choice("enable show use new skip".split()), *words])
    return Thing("feature flag", new, new)


def _workflow(m: Material, draw: random.Random) -> Thing:
    words = [_verb(m, draw), *_words(m, draw, 2)]
    if draw.random() < 0.5:
        new = "-".join(words)
        return Thing("workflow", f"{new}.{draw.choice(('yml', 'yaml'))}", new)
    return Thing(draw.choice(("CI job", "build step")), "-".join(words), "-".join(words))


def _page(m: Material, draw: random.Random) -> Thing:
    words = " ".join([*draw.sample(m.things, min(len(m.things), draw.randint(1, 2))), _last(m, draw)])
    return Thing("page", draw.choice(w.TITLES).format(x=words, X=words.capitalize()), words, False)


def _pull_request(m: Material, draw: random.Random) -> Thing:
    number = m.newest + draw.randint(20, 20 + max(500, 4 * m.newest))
    return Thing(draw.choice(("pull request", "PR", "pull request")), f"#{number}", str(number), False)


def _error(m: Material, draw: random.Random) -> Thing:
    word = draw.choice(m.words).upper()
    if draw.random() < 0.4:
        new = f"{word if len(word) < 7 else word[:3]}-{draw.randint(101, 9999)}"
        return Thing("error code", new, new)
    last = draw.choice("TIMEOUT MISMATCH EXPIRED CONFLICT MISSING REFUSED OVERFLOW STALE".split())
    new = "_".join(draw.choice((["ERR", word], ["E", word], [word]))) + f"_{_last(m, draw).upper()}_{last}"
    return Thing(draw.choice(("error code", "error")), new, new)


def _service(m: Material, draw: random.Random) -> Thing:
    noun = draw.choice("service queue stack topic lambda bucket".split())
    new = "-".join([*_words(m, draw), *draw.choice(([noun], [], ["prod"]))])
    return Thing(noun, new, new)


def _event(m: Material, draw: random.Random) -> Thing:
    words, noun = _words(m, draw, 2), draw.choice(("cookie", "header", "event"))
    if noun == "header":
        new = "-".join(["x", *words]).title()
    elif noun == "event":
        done = draw.choice("updated failed expired requested closed".split())
        new = draw.choice((".".join, "_".join, ":".join))([*words, done])
    else:
        new = draw.choice(("_".join, "-".join, _camel))([*words, draw.choice(("id", "seen", "token"))])
    return Thing(noun, new, new)


def _team(m: Material, draw: random.Random) -> Thing:
    new = f"{draw.choice(m.things)} {_last(m, draw)}".title()
    return Thing("team", new, new, False)


def _feature(m: Material, draw: random.Random) -> Thing:
    new = f"{draw.choice(m.things)} {draw.choice(w.SHOWN)}"
    return Thing("feature", new, new, False)


def _person(m: Material, draw: random.Random) -> Thing:
    name = draw.choice(w.GIVEN_NAMES)
    return Thing("person", name, name, False)


def _port(m: Material, draw: random.Random) -> Thing:
    number = draw.randint(1100, 49000)
    return Thing("port", f"port {number}", str(number), False)


def _technology(m: Material, draw: random.Random) -> Thing:
    name = draw.choice(w.TECHNOLOGIES)
    return Thing("technology", name, name, False)


MAKERS: dict[str, Callable[[Material, random.Random], Thing | None]] = {
    "file": _file,
    "folder": _folder,
    "function": _function,
    "component": _component,
    "endpoint": _endpoint,
    "environment variable": _variable,
    "command": _command,
    "configuration key": _key,
    "package": _package,
    "database table": _table,
    "feature flag": _flag,
    "workflow": _workflow,
    "page": _page,
    "pull request": _pull_request,
    "error code": _error,
    "service": _service,
    "event": _event,
    "team": _team,
    "feature": _feature,
    "person": _person,
    "port": _port,
    "technology": _technology,
}
