"""Which files are left out of the training text, and the reason that the manifest gives for each."""

from __future__ import annotations

import codecs
import re
from collections.abc import Mapping

from ftlib.scrape.pages import is_page

GENERATED, VENDORED = "linguist-generated", "linguist-vendored"
UNREADABLE = "unreadable (this clone lacks it)"

_LOCK_FILES = re.compile(
    r"(yarn|bun|deno|poetry|pdm|pipfile|uv|pixi|cargo|gemfile|composer|mix|pubspec|podfile|flake|packages)\.lock(\.json|b)?"
    r"|package-lock\.json|npm-shrinkwrap\.json|pnpm-lock\.yaml|conda-lock\.yml|go\.sum|package\.resolved|gradle\.lockfile"
    r"|\.terraform\.lock\.hcl"
)
_VENDORED_FOLDERS = re.compile(r"(^|/)(node_modules|vendor|third_party|bower_components)/")
_BINARY = re.compile(
    r"\.(png|jpe?g|gif|webp|avif|ico|bmp|tiff?|psd|pdf|zip|gz|tgz|bz2|xz|zst|7z|jar|war|class|so|dylib|dll|exe|a|o|pyc"
    r"|wasm|woff2?|ttf|otf|eot|mp[34]|wav|ogg|webm|mov|sqlite|db|parquet|np[yz]|pkl|pt|safetensors|gguf|onnx|h5|bin)$"
)
_ORDER = r"do not (?:edit|modify|change)"
_MARKER = re.compile(rf"@generated\b|generated\b.{{,120}}\b{_ORDER}|{_ORDER}\b.{{,120}}\bgenerated", re.I | re.S)


def unsafe_reason(path: bytes) -> str | None:
    """Why a path can't be used at all, or None: it is not UTF-8, or has parts that git itself won't check out."""
    try:
        path.decode()
    except UnicodeDecodeError:
        return "path not UTF-8"
    return "unsafe path" if any(part.lower() in {b"", b".", b"..", b".git"} for part in path.split(b"/")) else None


def path_reason(path: str, mode: str, attributes: Mapping[str, str]) -> str | None:
    """Why a file is left out whatever it holds, or None.

    Args:
        mode: git's, "100644" for a plain file.
        attributes: the values of GENERATED and VENDORED, as git gives them.
    """
    if mode in {"160000", "120000"}:
        return "submodule" if mode == "160000" else "symlink"
    name = path.rpartition("/")[2].lower()
    if attributes.get(GENERATED) in {"set", "true"} or name.endswith(".snap"):  # snapshots of test runners
        return "generated"
    # The repository can say that a folder of such a name is its own.
    vendored = attributes.get(VENDORED, "unspecified")
    if vendored in {"set", "true"} or (vendored == "unspecified" and _VENDORED_FOLDERS.search(path)):
        return "vendored"
    if _LOCK_FILES.fullmatch(name):
        return "lock file"
    if _BINARY.search(name):
        return "binary"
    return "minified or data" if re.search(r"\.(min\.(js|css)|(js|css)\.map)$", name) else None


def decode(data: bytes) -> tuple[str, str | None]:
    """A file's bytes -> its text and None, or "" and the reason why it has none. UTF-8's byte order mark is dropped."""
    if b"\0" in data and not data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "", "binary"
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return "", "not UTF-8"
    if text.startswith("version https://git-lfs.github.com/spec/"):
        return "", "LFS pointer"
    return text, None if text.strip() else "empty"


def text_reason(path: str, text: str) -> str | None:
    """Why a text is left out for what it holds, or None. The lines of pages are paragraphs, and may be long ones."""
    if _MARKER.search("\n".join(text[:2000].split("\n")[:6])):
        return "generated"
    lines = text.count("\n") + (not text.endswith("\n"))
    return "minified or data" if len(text) - lines > 110 * lines and not is_page(path) else None


def shown(path: bytes | str) -> str:
    """A path as it can be shown on one line: what is not printable (line breaks, direction marks) is escaped."""
    text = path if isinstance(path, str) else path.decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
