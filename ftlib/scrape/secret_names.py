"""Values that stand next to a name which says that they are secret: `dbPassword: "..."`, `<token>...</token>`.

A name is judged by its words, whichever way they are joined; a value by whether it looks drawn at random. Beside a
password's name one digit or special character is enough, since people make those up.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from ftlib.scrape.secret_values import HEX, UUID, is_reference, looks_like_password, looks_random

# --- names ------------------------------------------------------------------------------------------------------------

# A word without one of these neither names a secret nor stands in a place that secret_rules knows. For lower case.
_HINTS = (
    r"(?:p(?:ass|w|epper|rivate-)|s(?:ec(?:ret|urestring)|alt|ess(?:id|ion)|ig=|eed|udo)|token|k(?:ey|ty)|auth|"
    r"c(?:red|url|ipher)|login|jwt|hmac|m(?:ysql|aria|ongo|nemonic)|b(?:earer|asic)|redis-cli|identified|_pat(?![a-z]))"
)
_PLACE = re.compile(
    r"private-|s(?:ecurestring|ig=|eed|udo)|kty|curl|login|m(?:ysql|aria|ongo|nemonic)|bearer|basic|redis-cli|identified|cipher|jwt|hmac|aes[._]|keygen"
)
# What is not told by its last word: `apiKeyLabel`, `token_url`.
_OTHER = frozenset(
    """id ids name names type types url uri urls endpoint path paths file files filename dir folder label labels
    regex pattern length len size count expiry expires expiration expired ttl age timeout header headers prefix
    suffix param parameter field fields input inputs form placeholder error errors message messages title icon class
    classname algorithm alg algo format version status state index ref arn provider policy role scope scopes schema
    usage rotation hint limit max min enabled disabled required visible valid invalid validity generator manager
    service handler helper builder factory validator resolver options settings event action reducer selector hook
    component page screen button link modal view column table row rule rules strength reset change update confirm
    confirmation request response description text description desc help note issuer audience map list array set
    func fn callback method kind source mode testid test tests spec position color style selector symbol location
    region tag tags check checks match attempts checksum fingerprint thumbprint alias aliases owner user username
    email account domain host port config sha md chars alphabet charset algorithm""".split()
)
_TAIL = frozenset(  # after the word that tells: `passwordProd`, `api_key_1`, `secretValue`
    """prod production dev development test testing staging stage stg qa uat live local sandbox default value val
    old new current previous next primary secondary main backup base64 b64 hex raw string str plain plaintext text
    cleartext enc encrypted hash hashed digest data env literal const a b v1 v2 s""".split()
)
_PASSWORD = ("password", "passwd", "passphrase", "passwort", "passcode", "pswd", "pwd", "pass", "userpw", "dbpw")
_NOT_PASSWORD = frozenset("bypass compass trespass surpass encompass overpass underpass lowpass highpass".split())
_KEYED = (
    """token secret apikey accesskey secretkey privatekey authkey signingkey encryptionkey masterkey credential cred
    salt pepper auth authorization bearer jwt hmac sessionid sessid session otp masterauth totp webhook login
    license licence seed appkey keydata sharedkey hmackey storagekey accountkey servicekey"""
).split()
_NO_KEY = frozenset(  # `sort_key`, `publicKey`: a key to something else
    """public pub primary foreign sort partition hash range cache idempotency object row map dict query react
    translation i18n label message msg config option prop property field column index lookup group unique composite
    candidate natural surrogate hot arrow shift ctrl alt meta escape enter tab space function return any press down
    up host site recaptcha captcha publishable data item list event parent child section state route routing
    registry json yaml local storage dedup dedupe param attribute attr context the a by is on in of for""".split()
)
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
NONE, BARE, KEY, SECRET, PASSWORD = range(5)


@lru_cache(maxsize=4096)
def tier(name: str) -> int:
    """How much a name says about its value: NONE, BARE (`key`), KEY (`api_key`), SECRET or PASSWORD."""
    words = [word.lower() for word in _WORDS.findall(name.replace("$", ""))]
    if "public" in words or "publishable" in words:
        return NONE
    while len(words) > 1 and (words[-1] in _TAIL or words[-1].isdigit()):
        words.pop()
    for number in range(len(words), max(0, len(words) - 4), -1):  # `password_for_admin`: the word may stand before
        if words[number - 1] in _OTHER:
            return NONE
        found = _tier_of(words[number - 1], words[number - 2] if number > 1 else "")
        if found != NONE:
            return found if number == len(words) else min(found, KEY)
    return NONE


def _tier_of(word: str, before: str) -> int:
    single = word[:-1] if word.endswith("s") and not word.endswith("ss") else word
    if word == "pw" or (single.endswith(_PASSWORD) and single not in _NOT_PASSWORD):
        return PASSWORD
    if single == "auth" or any(single.endswith(end) for end in _KEYED if end != "auth"):
        return SECRET if single.endswith("secret") else KEY
    if single == "key":
        return BARE if not before or before in _OTHER else NONE if before in _NO_KEY else KEY
    return KEY if single == "pat" and before else NONE


# --- names with values ------------------------------------------------------------------------------------------------

_NAME = re.compile(_HINTS + r"[\w.\-]{0,40}", re.ASCII)
_HINTED = re.compile(_HINTS + r"[^\n]*")
_NAME_CHARS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.$")
_OPEN = r"""[rbufNL@$]{0,2}(?P<q>\\{0,3}["'`]{3}|\\{0,3}["'`]|&quot;|%22)"""
_QUOTED = _OPEN + r"(?P<v>(?:(?!(?P=q))[^\n]){0,8000})(?P=q)"
_CLOSE = r"""(?:\\{0,3}["'`]|\]|\)|&quot;|%22|\*\*){0,4}"""
_KIND = (
    r"(?:\s?[?!]?:\s?[\w&'<>\[\]|?. *]{1,40}?(?=\s{0,3}=[^=>])|"
    r"\s(?:string|\[\]byte|String|text)(?=\s?:?=)|\s?\[\d{0,4}\])?"
)
_OPS = r"(?:=>|:=|\?\?=?|\|\|=?|={1,3}|!={1,2}|\?=|::?|->|,|\(|<-|%3[Dd]|or\b|is\b|to\b|by\slazy\b)"
_WRAP = r"(?:(?:new\s)?[\w.:\[\]]{1,40}\(\s{0,20}|\[\s{0,20}|\{\s{0,20}|&)?"
_PAIR = r"""(?i:value|default(?:_?value)?|content|parametervalue|secret_?string)"""
_FORMS = {
    form: re.compile(pattern, re.ASCII)
    for form, pattern in {
        "quoted": rf"{_CLOSE}{_KIND}(?:\s{{0,40}}{_OPS}){{1,3}}\s{{0,40}}{_WRAP}{_QUOTED}",
        "bare": rf"{_CLOSE}(?P<before>[ \t]{{0,20}})(?:=>|:=|\?=|=|::?|%3[Dd]|is\b|was\b)(?P<after>[ \t]{{0,20}})"
        r"(?P<v>[^\s\"'`<>{}()\[\],;&=:|]{4,512}+={0,2})(?=$|[\s\"'`,;&<)}\]\\|])",
        "element": r"""(?:["'][^<>\n]{0,80})?>\s{0,20}(?:<(?:value|string)>\s{0,20})?"""
        r"""(?P<v>[^<>\n]{4,2000}?)\s{0,20}</""",
        "plist": r"</key>\s{0,40}<string>(?P<v>[^<>\n]{4,2000})</string>",
        "pair": rf"""{_CLOSE}[,;\s]{{0,60}}["']?{_PAIR}["']?\s?[:=]\s{{0,4}}"""
        rf"""(?:{_QUOTED}|(?P<w>[^\s"'`<>{{}},;]{{4,512}}+))""",
        "default": rf"""["']\s?\{{[^{{}}]{{0,200}}?\bdefault\s{{0,20}}=\s?{_QUOTED}""",
        "folded": r"""["']?\s?[:=]\s?[|>][-+]?[ ]*\r?\n[ +-]*(?P<v>[^\s:"']{6,512}+)[ ]*(?=$|\r?\n)""",
        "spaced": rf"[ \t]{{1,8}}{_QUOTED}",
        "beside": r"[ \t]{1,8}(?P<v>[A-Za-z0-9+/_.=~-]{20,512}+)(?=$|[\s\"'`,;)])",
        "cell": r"[ \t`*]{0,20}\|[ \t`*]{1,20}(?P<v>[^\s|`*]{5,200}+)[ \t`*]{1,20}\|",
        "word": r"[ \t]{1,8}(?P<v>[^\s\"'`<>(){}]{6,100}+)[ \t]*(?=\r?$|\r?\n)",
        "option": r"""[ \t=]{1,4}(?P<v>[^\s"'`<>|;()]{4,512}+)(?=$|[\s"'`;|])""",
    }.items()
}
_ASSIGNS = frozenset("=:|?-<%!,([ \t\r\n")
# By the character after a name, its quotes and brackets.
_FORMS_AFTER = {
    "=": ("option", "bare", "folded"),
    ":": ("bare", "folded"),
    "?": ("bare",),
    "%": ("bare",),
    "<": ("plist",),
    ">": ("element",),
    ",": ("pair",),
    ";": ("pair",),
    "\n": ("pair",),
    "\r": ("pair",),
    " ": ("bare", "pair", "element", "default", "folded", "spaced", "option", "beside", "word", "cell"),
    "\t": ("bare", "spaced", "option", "beside", "word", "cell"),
    "|": ("cell", "pair"),
    **dict.fromkeys("-!([", ("pair",)),
}
_CLOSED = re.compile(_CLOSE)
# `...;Password=...;`, whatever it is made of.
_CONNECTION = re.compile(
    r"=\{?(?P<v>[^;\"'`\s<>{}$()]{3,200}+)(?P<more>;(?= ?[A-Za-z][A-Za-z _-]{1,40}=))?(?=[;}\"'`\s<]|$)"
)
_CALLED = re.compile(r"\w\(|^\(|,")
_SETTING = re.compile(r"(?:ENV|ARG|configure set|config set|set)[ \t]+$")
# `key={item.id}`, `getToken();`, `token.length`: nothing that follows can be a literal.
_NO_VALUE = re.compile(r"[)\]]{0,3}(?:[;}.]|=\{[\w(.]|=\(|\([\w.]*\)|=>[^\"'`]|\?\.|&&)")
_EXPRESSION = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+")
_CALL = re.compile(r"[\w.:]{1,60}[(\[]")
_MORE = re.compile(rf"(?:\.\w{{1,20}}\(\))?\s{{0,40}},\s{{0,40}}{_QUOTED}", re.ASCII)
_LINE_START = re.compile(r"[\s+\-#/*;>|\"'&]*(?:(?:export|set|setx|ENV|ARG|env|local|readonly|declare|-e|-x|-D|--env|"
                         r"--build-arg|--from-literal)[ \t=]+)?[\"']?")  # fmt: skip
_WHOLE = re.compile(
    r"""["'\]]{0,2}[ \t]?[=:][ \t]?(?P<v>[^\s"'`<>][^\s"'`<>]{3,200}+)[ \t]*(?=\r?$|\r?\n|[ \t]#)""", re.ASCII
)
# The next line may hold the value. For the end of a line in lower case.
UNFINISHED = re.compile(_HINTS + r"[\w.\-]{0,40}[^\w;]{0,12}(?:</key>)?$", re.ASCII)


def telling_words(words: str, lower: str) -> set[str]:
    """Those of the words, one a line, whose lines may hold a secret; `lower` is the same in lower case."""
    found = set()
    for match in _HINTED.finditer(lower):
        start = words.rfind("\n", 0, match.start()) + 1
        word = words[start : match.end()]
        if _PLACE.search(lower, start, match.end()) or any(
            not _NO_VALUE.match(word, end) for _, end, _ in _names(word, lower[start : match.end()])
        ):
            found.add(word)
    return found


def named_secrets(text: str, lower: str) -> Iterator[tuple[int, int]]:
    """Where values of telling names begin and end, in order; `lower` is the text in lower case."""
    done = 0
    for first, end, level in _names(text, lower):
        if first >= done:
            for span in _values(text, first, end, level):
                yield span
                done = span[1]


def _names(text: str, lower: str) -> Iterator[tuple[int, int, int]]:
    for match in _NAME.finditer(lower):
        first, end = match.span()
        while first and match.start() - first < 60 and text[first - 1] in _NAME_CHARS:
            first -= 1
        level = tier(text[first:end])
        if level != NONE and not text.startswith("<REDACTED:", first - 10):
            yield first, end, level


def _values(text: str, first: int, end: int, level: int) -> Iterator[tuple[int, int]]:
    closed = _CLOSED.match(text, end)
    sign = text[closed.end() : closed.end() + 1] if closed else ""
    forms = _FORMS_AFTER.get(sign)
    if not forms:
        return
    name = text[first:end].strip("-$.")
    if sign in _ASSIGNS and (found := _FORMS["quoted"].match(text, end)):
        between = text[end : found.start("v")]
        if "," in between and "\n" in between:
            return  # the next string of a list
        listed, called, more = "[" in between or "{" in between, _CALLED.search(between), False
        while found:
            if (
                _judge(found["v"], level, name, quoted=True, called=bool(called))
                or (more and "(" in between and looks_like_password(found["v"], loose=False))
                or (level == PASSWORD and "=" in between and not called and _worded(found["v"]))
            ):
                yield found.span("v")
            found, more = (_MORE.match(text, found.end()) if listed or "(" in between else None), True
        return
    before = text[max(0, first - 120) : first]
    if level == PASSWORD and (found := _CONNECTION.match(text, end)) and (before.rstrip()[-1:] == ";" or found["more"]):
        if not is_reference(found["v"].strip()):
            yield found.span("v")
        return
    line = text.rfind("\n", max(0, first - 120), first) + 1
    begins = (line or first < 120) and sign in "=: \t" and _LINE_START.fullmatch(text, line, first)
    if begins and (found := _WHOLE.match(text, end)):
        exported = name.upper() == name and level >= SECRET and found.start("v") == end + 1
        if _judge(found["v"], level, name, line=True) or (exported and _worded(found["v"])):
            yield found.span("v")
            return
    for form in forms:
        if form in ("spaced", "word") and (name.lower() == "pass" or form == "word" and level < PASSWORD):
            continue  # a verb
        if form == "option" and not (text[first] == "-" or before[-1:] == "/" or _SETTING.search(before)):
            continue
        if form == "element" and text[end : end + 1] == ">" and before[-1:] not in ("<", ":"):
            continue
        if found := _FORMS[form].match(text, end):
            group = "w" if form == "pair" and found["w"] else "v"
            quoted = form not in ("bare", "folded", "option", "beside", "word", "cell") and group == "v"
            line_like = form in ("option", "pair") or before[-1:] in ("?", "&")
            if _judge(found[group], level, name, quoted=quoted, line=line_like):
                yield found.span(group)
                return


def _judge(
    value: str, level: int, name: str, *, quoted: bool = False, called: bool = False, line: bool = False
) -> bool:
    value = value.strip()
    if not quoted and value.endswith((",", ";")):
        value, line = value[:-1], False
    if len(value) < 5 or is_reference(value) or value == name or (not quoted and _CALL.match(value)):
        return False
    if _EXPRESSION.fullmatch(value):
        return False
    if level == PASSWORD:
        if quoted or line:
            return looks_like_password(value, loose=not called)
        return looks_like_password(value, loose=False)
    if not (quoted or line) and value.isidentifier() and len(value) < 20:
        return False
    if " " in value or "@" in value and "." in value.rpartition("@")[2]:
        return False
    if level == SECRET and looks_like_password(value, loose=False) and len(value) >= 8:
        return True
    if ":" in value and level == KEY and looks_like_password(value.partition(":")[2], loose=False):
        return True  # with the user's name
    if level == BARE:
        return len(value) >= 24 and looks_random(value, 24) and not (UUID.fullmatch(value) or HEX.fullmatch(value))
    return looks_random(value, 12)


def _worded(value: str) -> bool:
    """A password of words, as in DB_PASSWORD=letmein or password = "let_me_in"."""
    if not 6 <= len(value) <= 40 or is_reference(value) or not re.fullmatch(r"[a-z]+(?:[-_][a-z]+){0,4}", value):
        return False
    return not re.search(r"pass|pwd|secret|token|key|user|input|field|label|invalid|missing|wrong", value)
