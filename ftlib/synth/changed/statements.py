"""What a line of code or configuration states: `"react": "^18.2.0",` -> version, react, ^18.2.0.

One pattern for each kind of file; a line that none of them takes whole states nothing here. Values that change without
meaning anything to a reader (hashes, a package's own version) are no statements either.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

LONGEST_LINE, LONGEST_VALUE, MOST_WORDS = 300, 60, 4
BLOCK_LINES = 5000

_QUOTED = r"\"[^\"\\]*\"|'[^'\\]*'|`[^`\\$]*`"
_NUMBER = r"-?(?:0x[0-9a-fA-F]+|\d[\d_]*(?:\.\d+)?)[a-zA-Z%]{0,4}"
_LITERAL = rf"(?P<value>{_QUOTED}|{_NUMBER})"
_END = r"\s*[;,]?\s*(?:(?://|#|/\*).*)?"
_NAME = r"(?P<name>[A-Za-z_$][\w$]*)"
_CONSTANT = r"(?P<name>[A-Z][A-Z0-9_]{2,})"
_MODIFIERS = r"(?:(?:export|public|private|protected|internal|static|final|readonly|const|val|pub|lazy|override)\s+)+"
_VERSION = r"(?P<value>[~^<>=!v\s]*\d[\w.*+\-]*(?:[\s,]*[<>=~^!]+\s*\d[\w.*+\-]*)*)"

# The kinds of statement, each with the patterns for it in a family of files.
_JSON = [("key", r"\"(?P<name>[\w@/.:\-$]+)\"\s*:\s*(?P<value>\"[^\"\\]*\"|-?\d[\d.]*|true|false)\s*,?")]
_PACKAGE = [("version", rf"\"(?P<name>[\w@/.\-]+)\"\s*:\s*\"{_VERSION}\"\s*,?"), *_JSON]
_YAML = [
    ("action", r"(?:-\s+)?uses:\s*[\"']?(?P<name>[\w.\-]+/[\w./\-]+)@(?P<value>[\w.\-]+)[\"']?\s*(?:#.*)?"),
    ("image", r"(?:-\s+)?image:\s*[\"']?(?P<name>[\w.\-/]+):(?P<value>[\w.\-]+)[\"']?\s*(?:#.*)?"),
    ("key", rf"(?:-\s+)?[\"']?(?P<name>[A-Za-z_][\w.\-]*)[\"']?:\s+(?P<value>{_QUOTED}|[^\s#\"'`].*?)\s*(?:\s#.*)?"),
]
_PYTHON_LISTED = [
    ("version", rf"[\"']?(?P<name>[A-Za-z0-9][\w.\-]*)(?:\[[\w,\-]+\])?\s*(?=[<>=~!]){_VERSION}[\"']?{_END}")
]
_TOML = [
    *_PYTHON_LISTED,
    ("version", rf"(?P<name>[\w.\-]+)\s*=\s*\{{\s*version\s*=\s*\"{_VERSION}\".*"),
    ("key", rf"(?P<name>[\w.\-\"]+)\s*=\s*(?P<value>{_QUOTED}|-?\d[\d_.]*|true|false)\s*(?:#.*)?"),
]
_INI = [("key", r"(?:export\s+)?(?P<name>[A-Za-z_][\w.\-]*)\s*[=]\s*(?P<value>[^\s].*?)\s*")]
_DOCKER = [
    ("image", r"FROM\s+(?:--\S+\s+)?(?P<name>[\w.\-/]+):(?P<value>[\w.\-]+)(?:\s+(?i:AS)\s+\S+)?"),
    ("key", r"(?:ARG|ENV)\s+(?P<name>\w+)[=\s]\s*(?P<value>\S+)"),
]
_TOOLS = [("version", r"(?P<name>[\w\-]+)\s+(?P<value>\d\S*)")]
_GO = [
    ("version", r"(?:require\s+)?(?P<name>[\w.\-]+\.[\w.\-]+/\S+)\s+(?P<value>v\d\S*)(?:\s*//(?! indirect).*)?"),
    ("version", r"(?P<name>go|toolchain)\s+(?P<value>\S*\d\S*)"),
]
_GEM = [("version", rf"gem\s+[\"'](?P<name>[\w\-]+)[\"']\s*,\s*[\"']{_VERSION}[\"'].*")]
_JVM = [
    ("version", r"\"(?P<name>[\w.\-]+\"\s*%{1,3}\s*\"[\w.\-]+)\"\s*%\s*\"(?P<value>\d[\w.\-]*)\".*"),
    ("version", r"\w+[\s(]+[\"'](?P<name>[\w.\-]+:[\w.\-]+):(?P<value>\d[\w.\-]*)[\"']\)?"),
    ("version", r"addSbtPlugin\(\"(?P<name>[\w.\-]+\"\s*%{1,3}\s*\"[\w.\-]+)\"\s*%\s*\"(?P<value>\d[\w.\-]*)\"\)"),
]
_CODE = [
    ("constant", rf"{_MODIFIERS}(?:[\w<>\[\].]+\s+)?{_NAME}(?:\s*:[\w<>\[\].|\s]{{1,80}}?)?\s*=\s*{_LITERAL}{_END}"),
    ("constant", rf"{_CONSTANT}(?:\s*:[\w<>\[\].|\s]{{1,80}}?)?\s*:?=\s*{_LITERAL}{_END}"),
    ("constant", rf"#define\s+{_CONSTANT}\s+{_LITERAL}{_END}"),
    ("constant", rf"[\"']?{_CONSTANT}[\"']?\s*:\s*{_LITERAL}{_END}"),
]
_SETTINGS_CODE = [("key", rf"[\"']?{_NAME}[\"']?\s*:\s*(?P<value>{_QUOTED}|{_NUMBER}|true|false)\s*,?\s*(?://.*)?")]
_CONF = [("key", r"(?P<name>[a-z_]+)\s+(?P<value>[^\s;{][^;{]*);\s*(?:#.*)?")]

_WHOLE_FILE = {".nvmrc", ".node-version", ".python-version", ".ruby-version", ".java-version", ".terraform-version"}
_BY_NAME = {
    "package.json": _PACKAGE,
    "bower.json": _PACKAGE,
    ".tool-versions": _TOOLS,
    "go.mod": _GO,
    "gemfile": _GEM,
    "pipfile": _TOML,
    "setup.py": [*_PYTHON_LISTED, *_CODE],
    "setup.cfg": [*_PYTHON_LISTED, *_INI],
}
_BY_SUFFIX = {
    "json": _JSON,
    "jsonc": _JSON,
    "json5": _JSON,
    "yml": _YAML,
    "yaml": _YAML,
    "toml": _TOML,
    "ini": _INI,
    "cfg": _INI,
    "properties": _INI,
    "env": _INI,
    "conf": _CONF,
    "sbt": [*_JVM, *_CODE],
    "gradle": _JVM,
    "kts": [*_JVM, *_CODE],
    **dict.fromkeys(
        "js jsx ts tsx mjs cjs mts cts py rb go rs java kt scala c h cc cpp hpp cs swift php dart sh bash".split(),
        _CODE,
    ),
}

# Keys whose values tell one item of a list from the next, or say nothing; the same key may be another item's.
_NO_KEYS = frozenset(
    """name id run script title description label text message key type value if import from class classname href
    integrity resolved sha sha1 sha256 hash checksum digest rev ref commit date updated created timestamp summary uses
    author license licence displayname slug alt placeholder heading header body content comment default example
    __version__ versioncode versionname buildnumber""".split()
)
_OWN_VERSION = frozenset({"", "project", "package", "tool.poetry", "metadata", "info", "bumpversion"})
_SKIPPED_PATH = re.compile(
    r"(^|/)(__)?(tests?|specs?|fixtures?|mocks?|snapshots?|stories|storybook|cypress|e2e|testdata|testing|examples?)(__)?/|(^|/)[\w.]+-tests?/"
    r"|(^|/)examples?\.[^/]*$|[._-](test|tests|spec|stories|story|mock|mocks|fixture|fixtures|snap)\.[^/]*$|(^|/)(test_|conftest)[^/]*$"
    r"|(^|/)(changelog|changes|history|releases?|release[-_]?notes|news|authors|licen[cs]e|notice)(\.(md|txt|rst|adoc))?$"
    r"|\.(css|scss|less|svg|snap|lock|map|csv|tsv|po|pot)$|(^|/)(fixtures?|mock(data)?|testdata)[^/]*$",
    re.I,
)
_HASH = re.compile(r"(?:sha\d+[-:])?(?=[a-f]*\d)[0-9a-f]{7,}|[0-9a-f]{8}-[0-9a-f-]{20,}|(?=\S*\d)[A-Za-z0-9+/_=-]{28,}")
# Computed, several lines, a placeholder, a way through folders, a time of day.
_UNUSABLE = re.compile(r"\$[({]|\{\{|<%|<REDACTED:|\w\(|[|`\n]|^[\[{&*!(]|^\.\./|[\[{(\\]$|\d\d:\d\d:\d\d")
_AUTOMATIC = re.compile(r"auto-?generated|generated by|do not edit", re.I)
_NOISE_LINE = re.compile(r"copyright|©|\(c\)|last (?:updated|modified)", re.I)


class Statement(NamedTuple):
    """`kind` is version, image, action, key, constant or file; `name` says of what, "" of the whole file."""

    kind: str
    name: str
    value: str


def is_skipped(path: str) -> bool:
    """Whether a file is a test, a change log or the like, whose values are not what a project is set to."""
    return _SKIPPED_PATH.search(path) is not None


def is_automatic(text: str) -> bool:
    """Whether a file says of itself that a tool wrote it, such as pip-compile; the scraper keeps some of these."""
    return _AUTOMATIC.search(text[:500]) is not None


def is_noise(line: str) -> bool:
    """Whether a line changes with the calendar, or held a secret."""
    return _NOISE_LINE.search(line) is not None or "<REDACTED:" in line


def usable(value: str) -> bool:
    """Whether a value can be asked for: short, not computed, no hash. `|` parts the alternatives of a keyword."""
    return bool(
        re.search(r"\w", value)
        and len(value) <= LONGEST_VALUE
        and len(value.split()) <= MOST_WORDS
        and not _UNUSABLE.search(value)
        and not _HASH.fullmatch(value)
    )


@lru_cache(maxsize=4096)
def _patterns(path: str) -> tuple[tuple[str, re.Pattern[str]], ...]:
    name = path.rpartition("/")[2].lower()
    suffix = name.rpartition(".")[2]
    rows = _BY_NAME.get(name) or _BY_SUFFIX.get(suffix, [])
    if name.startswith("dockerfile") or suffix == "dockerfile":
        rows = _DOCKER
    elif re.fullmatch(r"(dev-|test-)?(requirements|constraints)[\w.\-]*\.(txt|in)", name) or "/requirements/" in path:
        rows = _PYTHON_LISTED
    elif name.startswith(".env"):
        rows = _INI
    elif rows is _CODE and re.search(r"\.config\.|^\.\w+rc\.|^(config|settings|constants?)\.|^webpack", name):
        rows = [*_CODE, *_SETTINGS_CODE]
    return tuple((kind, re.compile(pattern)) for kind, pattern in rows)


def statement(path: str, line: str) -> Statement | None:
    """What a line of this file states, or None."""
    text = line.strip()
    if not text or len(text) > LONGEST_LINE:
        return None
    text = re.sub(r"\s{3,}", "  ", text)  # patterns can take a time that grows with a power of the spaces
    if path.rpartition("/")[2].lower() in _WHOLE_FILE:
        return Statement("file", "", text)
    for kind, pattern in _patterns(path):
        if match := pattern.fullmatch(text):
            name, value = match["name"].strip("\"'"), _unquoted(match["value"].strip())
            local = kind == "constant" and line[:1].isspace() and not re.search(r"[A-Z]{3}|static|readonly", text)
            return (
                None
                if local or name.lower() in _NO_KEYS
                else Statement(kind, re.sub(r"\"\s*%+\s*\"", ":", name), value)
            )
    return None


def _unquoted(text: str) -> str:
    return text[1:-1].strip() if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'`" else text


def statements(path: str, lines: list[str]) -> dict[tuple[str, str], dict[str, list[int]]]:
    """(kind, name) -> value -> the numbers of the lines that state it."""
    found: dict[tuple[str, str], dict[str, list[int]]] = {}
    for number, line in enumerate(lines):
        if said := statement(path, line):
            found.setdefault((said.kind, said.name), {}).setdefault(said.value, []).append(number)
    return found


def parents(path: str, lines: list[str], number: int) -> list[str]:
    """The names of the blocks round a line, the outermost first: by indentation, in TOML and INI by section.

    Those that begin more than BLOCK_LINES above it are not seen.
    """
    above = lines[max(0, number - BLOCK_LINES) : number]
    if re.search(r"\.(toml|ini|cfg)$|(^|/)pipfile$", path, re.I):
        sections = (re.fullmatch(r"\s*\[+\s*([^\]]+?)\s*\]+\s*(#.*)?", line) for line in reversed(above))
        return next(([match[1]] for match in sections if match), [])
    found: list[str] = []
    depth = _depth(lines[number])
    for line in reversed(above):
        if line.strip() and _depth(line) < depth:
            depth = _depth(line)
            if match := re.match(r"\s*(?:-\s+)?[\"']?([\w@/.\-]+)[\"']?\s*:\s*[{\[]?\s*$", line):
                found.append(match[1])
        if not depth:
            break
    return found[::-1]


def _depth(line: str) -> int:
    """Columns before the first letter; a list's dash counts as space, since the keys of one item align so."""
    return len(line) - len(line.lstrip(" \t"))


def is_own_version(name: str, above: list[str]) -> bool:
    """Whether this is the version of the package itself, which every release changes."""
    return name.lower() == "version" and (above[-1] if above else "") in _OWN_VERSION
