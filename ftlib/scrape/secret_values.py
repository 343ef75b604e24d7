"""Whether a value looks like a secret: drawn at random or made up as a password, and no reference or placeholder."""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator
from functools import lru_cache

CHUNK = re.compile(r"[A-Z]?[a-z]+|[A-Z]+|\d+")
_PAIRS = frozenset(  # of letters, those that English and code have most
    """th he in er an re on at en nd ti es or te of ed is it al ar st to nt ng se ha as ou io le ve co me de hi ri
    ro ic ne ea ra ce li ch ll be ma si om ur ca el ta la ns di fo ho pe ec pr no ct us ac ot il tr ly nc et ut ss
    so rs un lo wa ge ie wh ee wi em ad ol rt po we na ul ni ts mo ow pa im mi ai sh ir su id os iv ia am fi ci vi
    pl ig tu ev ld ry mp fe bl ab gh ty op wo sa ay ex ke fr oo av ag if ap gr od bo sp rd do uc bu ei ov by rm ep
    tt oc fa ef cu rn sc gi da yo cr cl du ga qu ue ff ba ey ls va um pp ua up lu go ht ru ug ds lt pi rc rr eg au
    ck ew mu br bi pt ak pu ui rg ib tl ny ki ys ob mm fu ph og ms ye ud mb ip ub oi rl gu dr hr cc tw ft wn nu
    af hu nn eo vo rv nf xp gn sm fl iz ok nl my gl aw ju eq sy sl ps jo lf nv je nk kn gs dy hy""".split()
)
_TECH = re.compile(  # words with a digit inside
    r"(?<![a-z])(?:i18n|l10n|a11y|utf8|oauth2|base64|sha\d{1,3}|md5|x86|s3|ec2|k8s|es\d{1,4}|http2|h264|p12|x509|e2e|b2b|"
    r"v\d{1,2}|log4j|web3|auth0|n8n|t3|3d|2d|iso8601|hs256|rs256|ed25519|aes\d{3})(?![a-z])",
    re.IGNORECASE,
)
_REFERENCE = re.compile(  # where the value comes from, instead of the value
    r"^(?:\$\{?[A-Za-z_][\w.:]*\}?$|\$\(|\$\{|%\(|%[A-Za-z_]\w*%$|%[sdvr@]$|\{|<|#\{|\[|arn:|data:|urn:|file:|[a-z][a-z0-9+.-]*://|"
    r"[.~]{1,2}/|[A-Z]:\\|@(?:Microsoft|string)|vault:|ssm:|secretsmanager:|op://|!Ref|!Sub|!vault|ENC\[|"
    r"(?:process\.env|os\.environ|import\.meta|ENV|env|System|secrets?|vars?|local|module|self|this|config|settings|"
    r"props|params|req|request|ctx|context|args|options|opts|user|app|data|state|event)[.\[])|"
    r"\$\{|\{\{|\}\}|\$\(|<%|#\{|<REDACTED|\(\)|\{\d+,\d*\}|\[[A-Za-z0]-[A-Za-z9]"
)
_PLACEHOLDER = re.compile(
    r"xxx|\*\*\*|\.\.\.|___|your|change[-_ ]?(?:me|this|it)|replace|placeholder|example|insert|dummy|todo|fixme|"
    r"redacted|masked|hidden|^(?:null|none|undefined|true|false|nil|void|string|required|optional|disabled|enabled)$|"
    r"my[-_]?(?:secret|password|token|api|key|pass)|(?:some|the|any|an?)[-_ ](?:secret|password|token|key)|"
    r"^(?:test|secret|password|passwd|pass|pwd|token|key|user|admin|root|guest)\d?$|-here$|_here$",
    re.IGNORECASE,
)
_JOINED = re.compile(r"(?:[A-Za-z]+\d{0,4}|\d{1,4})(?:[-_./: ]+(?:[A-Za-z]+\d{0,4}|\d{1,4}))+[-_./:]*")
UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
HEX = re.compile(r"(?:0x)?(?:[0-9a-f]{16,512}|[0-9A-F]{16,512})")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT?[\d:.,TZ+-]*|v?\d+(?:\.\d+){1,3}\S{0,20}|[\d,.:/ -]+")
_INTEGRITY = re.compile(r"(?:sha\d{1,3}|md5)[-:]")


def entropy(value: str) -> float:
    """Bits a character."""
    return -sum(n / len(value) * math.log2(n / len(value)) for n in Counter(value).values())


@lru_cache(maxsize=8192)
def looks_random(value: str, least: int = 12) -> bool:
    """Whether a literal looks drawn at random: letters and digits by turns, or capitals where no word begins."""
    if len(value) < least or _TIME.fullmatch(value) or _INTEGRITY.match(value):
        return False
    if "abcdefghijklmnopqrst" in value.lower():
        return "ABCDEFGHIJKLMNOPQRST" not in value or "abcdefghijklmnopqrst" not in value
    if UUID.fullmatch(value):
        return len(set(value)) > 6
    if HEX.fullmatch(value):
        return bool(re.search(r"\d", value) and re.search(r"[A-Fa-f]", value)) and entropy(value) >= 2.5
    body = _TECH.sub("", value[:512])
    chunks = CHUNK.findall(body)
    letters = sum(map(len, (chunk for chunk in chunks if not chunk.isdigit())))
    size = sum(map(len, chunks))
    if letters < 3 or size < 0.7 * least or entropy(value[:512]) < 2.9:
        return False
    runs = re.findall(r"[A-Za-z0-9]+", body)
    if len(max(runs, key=len)) < 8 and sum(bool(re.search(r"[A-Za-z]\d|\d[A-Za-z]", run)) for run in runs) < 3:
        return False
    inner, ratio = len(re.findall(r"(?<=[A-Za-z])\d+(?=[A-Za-z])", body)), len(chunks) / size
    if inner >= 2 and ratio >= 0.15 or inner == 1 and ratio >= 0.38 or ratio >= 0.46:
        return True
    if len(runs) == 1 and size >= 20 and 5 <= letters <= size - 5:
        return True
    pairs, common = _pairs(body)
    if letters < size and pairs >= 3 and common < 0.55 * pairs and not _JOINED.fullmatch(value):
        return True
    return size >= 18 and pairs >= 12 and common < 0.53 * pairs


def _pairs(value: str) -> tuple[int, int]:
    """How many letters stand next to each other, and how many of these pairs words are made of."""
    pairs = re.findall(r"(?=([a-z]{2}))", value.lower())
    return len(pairs), sum(pair in _PAIRS for pair in pairs)


@lru_cache(maxsize=8192)
def looks_like_password(value: str, loose: bool = True) -> bool:
    """Whether somebody's password may look like this; `loose` takes a word with a number (`hunter2`) for one."""
    if not 5 <= len(value) <= 128 or is_reference(value) or re.search(r"\s", value):
        return False
    if looks_random(value, 10):
        return True
    if (
        _JOINED.fullmatch(value)
        or _TIME.fullmatch(value)
        or re.search(r"\\[dws]|\[\^?[a-zA-Z0]-|\(\?|\w\(|\.[*{]|[*+]\$", value)
    ):
        return False
    letter, digit = re.search(r"[A-Za-z]", value), re.search(r"\d", value)
    special = re.search(r"[!@#$%^&*?~+=|]", value)
    if not letter or "/" in value.strip("/") and not special:
        return False
    if digit and special:
        return True
    if digit:
        return loose and re.search(r"(?i)pass\w*\d$|pwd\d$|token|secret|field|input|label", value) is None
    return len(value) >= 8 and re.search(r"[A-Za-z0-9][!@#$%^&*~]+[A-Za-z0-9]", value) is not None and value[0] != "@"


def is_reference(value: str) -> bool:
    """Whether a value says where the secret comes from, or what to write there, instead of being one."""
    if _REFERENCE.search(value) or len(set(value)) < 4:
        return True
    return bool(_PLACEHOLDER.search(value)) and not (len(value) >= 20 and looks_random(value, 20))


def _literal(value: str) -> bool:
    """A password of a URL: not ${PASSWORD}, not ***."""
    word = value.lower()
    if value[0] in "${%[(<" or set(word) <= set("*x."):
        return False
    return re.fullmatch(r"(?:your[-_]?)?(?:password|pass|passwd|pwd|secret|token)|changeme|redacted", word) is None


def _decoded(value: str) -> bytes:
    body = value.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(body[: len(body) // 4 * 4])
    except binascii.Error:
        return b""


def _salt(value: str) -> bool:
    return len(set(value)) > 15 and re.search(r"\d", value) is not None and re.search(r"\S{3}", value) is not None


CHECKS: dict[str, Callable[[str], bool]] = {
    "-": bool,
    "random": lambda value: not is_reference(value) and looks_random(value),
    "password": looks_like_password,
    "quoted": lambda value: not is_reference(value) and len(value) >= 6,
    "literal": _literal,
    "basic": lambda value: re.fullmatch(rb"[ -9;-~]*:[ -~]+", _decoded(value)) is not None,
    "base64": lambda value: len(_decoded(value)) >= 6 and not is_reference(value),
    "pem": lambda value: b"PRIVATE KEY" in _decoded(value[:200]),
    "salt": _salt,
}

_ASSIGNED = re.compile(
    r"(?P<name>[\w.$-]{1,60})[\"'\]]{0,2}\s{0,4}(?:=>|:=|[:=])\s{0,4}(?:[\w.:]{1,30}\()?b?"
    r"(?P<q>[\"'`])(?P<v>[A-Za-z0-9+/_=-]{32,120})(?P=q)",
    re.ASCII,
)
_NO_SECRET = re.compile(
    r"(?i)public|id$|hash|sha\d*|digest|checksum|integrity|etag|revision|commit|fingerprint|alphabet|chars|charset|image|src|"
    r"svg|path|data$|nonce|salt$|uri|url|example|test|sentinel|class|model|name|version|signature|cert"
)


def high_entropy(value: str) -> bool:
    """Whether a literal is too random to be anything but a secret: no hash, no alphabet, no name."""
    pairs, common = _pairs(value)
    return (
        common < 0.65 * pairs
        and bool(
            re.search(r"[A-Z].*[A-Z]", value) and re.search(r"[a-z].*[a-z]", value) and re.search(r"\d.*\d", value)
        )
        and entropy(value) >= 4.0
        and not HEX.fullmatch(value)
        and re.search(r"(?i)abcdef|012345|qwerty|(.)\1\1\1", value) is None
        and not is_reference(value)
        and looks_random(value, 32)
        and max(map(len, re.findall(r"[A-Za-z0-9]+", value))) >= 16
    )


def random_assignments(text: str) -> Iterator[tuple[int, int]]:
    """Where such literals are assigned to a name that does not tell."""
    for match in _ASSIGNED.finditer(text):
        if not _NO_SECRET.search(match["name"]) and high_entropy(match["v"]):
            yield match.span("v")
