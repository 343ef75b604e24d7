"""Which licence a text is, which one a file names in its header, and which one a package's manifest declares."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import PurePosixPath
from typing import Any

_COPY = r"permission is hereby granted, free of charge, to any person obtaining a copy"
_BSD = r"redistribution and use in source and binary forms"
_ISC = r"permission to use, copy, modify,? and(?:/or)? distribute this software"
_GNU = [
    (f"gnu {word}general public license", f"{name}-{version}", number)
    for word, name, versions in (
        ("affero ", "AGPL", ("3.0",)),
        ("lesser ", "LGPL", ("3.0", "2.1", "2.0")),
        ("library ", "LGPL", ("2.0",)),
        ("", "GPL", ("3.0", "2.0", "1.0")),
    )
    for version in versions
    for number in (rf"version {version[0]}(?:\.0)?(?!\.?\d)" if version[2] == "0" else rf"version {version[0]}\.1",)
]
_BY_FSF = r",?(?: version [\d.]+)?,? as published by the free software foundation[,;:] (?:either )?"
# Of two that begin at the same word the upper one is the one.
_LICENCES = [
    *(
        (rf"{title}{_BY_FSF}{number}(?: of the licen[cs]e)?,? or \(?at your option\)? any later", f"{name}-or-later")
        for title, name, number in _GNU
    ),
    *((f"{title}{_BY_FSF}{number}", f"{name}-only") for title, name, number in _GNU),
    *((rf"{title},? \(?{number}", name) for title, name, number in _GNU),
    (r"gnu affero general public license", "AGPL-3.0"),
    (r"gnu lesser general public license", "LGPL-2.1"),
    (r"gnu free documentation license version 1\.3", "GFDL-1.3"),
    (r"apache license,? (?:version|v\.?) ?2\.0", "Apache-2.0"),
    (r"mozilla public license,? (?:version|v\.) ?2\.0", "MPL-2.0"),
    (r"mozilla public license,? (?:version|v\.) ?1\.1", "MPL-1.1"),
    (r"eclipse public license\W+v(?:ersion|\.)? ?2\.0", "EPL-2.0"),
    (r"eclipse public license\W+v(?:ersion|\.)? ?1\.0", "EPL-1.0"),
    (r"european union public licen[cs]e\W+v(?:ersion|\.)? ?1\.2", "EUPL-1.2"),
    (r"european union public licen[cs]e\W+v(?:ersion|\.)? ?1\.1", "EUPL-1.1"),
    (r"common development and distribution license \(cddl\) version 1\.0", "CDDL-1.0"),
    (r"educational community license,? version 2\.0", "ECL-2.0"),
    (r"boost software license\W+version 1\.0", "BSL-1.0"),
    (r"business source license", "BUSL-1.1"),
    (r"elastic license,?(?: version| v)? ?2\.0", "Elastic-2.0"),
    (r"server side public license,? version 1", "SSPL-1.0"),
    (r"artistic license,?(?: version| v)? ?2\.0", "Artistic-2.0"),
    (r"sil open font license,? version 1\.1", "OFL-1.1"),
    (r"universal permissive license \(upl\),? version 1\.0", "UPL-1.0"),
    (r"microsoft public license \(ms-pl\)", "MS-PL"),
    (r"mulan permissive software license,? version 2|木兰宽松许可证[,，] ?第2版", "MulanPSL-2.0"),
    (r"python software foundation license version 2", "PSF-2.0"),
    (
        r"licence de logiciel libre cecill version 2\.1|cecill free software license agreement version 2\.1",
        "CECILL-2.1",
    ),
    (r"blue oak model license version 1\.0\.0", "BlueOak-1.0.0"),
    (r"do what the fuck you want to public license", "WTFPL"),
    (r"this is free and unencumbered software", "Unlicense"),
    (r"cc0 1\.0 universal", "CC0-1.0"),
    (r"attribution-noncommercial-sharealike 4\.0 international", "CC-BY-NC-SA-4.0"),
    (r"attribution-noncommercial-noderivatives 4\.0 international", "CC-BY-NC-ND-4.0"),
    (r"attribution-noncommercial 4\.0 international", "CC-BY-NC-4.0"),
    (r"attribution-sharealike 4\.0 international", "CC-BY-SA-4.0"),
    (r"attribution-noderivatives 4\.0 international", "CC-BY-ND-4.0"),
    (r"attribution 4\.0 international", "CC-BY-4.0"),
    (r"\A(?:the )?mit license\b", "MIT"),
    (r"\Aapache (?:license )?2\.0", "Apache-2.0"),
    (r"\Absd[- ]3[- ]clause", "BSD-3-Clause"),
    (r"\Absd[- ]2[- ]clause(?!.plus)", "BSD-2-Clause"),
    (rf"{_COPY}(?:(?!the above copyright notice|redistributions of).){{,600}}the software is provided", "MIT-0"),
    (rf"{_COPY}.{{,900}}redistributions of source code must retain", "NCSA"),
    (_COPY, "MIT"),
    (rf"{_ISC} and its documentation for any purpose, without fee, and without a written agreement", "PostgreSQL"),
    (rf"{_ISC} for any purpose with or without fee is hereby granted\.", "0BSD"),
    (rf"{_ISC} for any purpose", "ISC"),
    (r"altered source versions must be plainly marked as such", "Zlib"),
    (rf"{_BSD}.{{,120}}\(subject to the limitations in the disclaimer below\)", "BSD-3-Clause-Clear"),
    (
        rf"{_BSD}.{{,900}}each copyright holder and contributor hereby grants .{{,90}} patent license",
        "BSD-2-Clause-Patent",
    ),
    (rf"{_BSD}.{{,900}}all advertising materials mentioning features", "BSD-4-Clause"),
    (rf"{_BSD}.{{,1500}}(?:neither the names? |may not be used to endorse)", "BSD-3-Clause"),
    (_BSD, "BSD-2-Clause"),
]
_HEADER = re.compile(r"SPDX-License-Identifier:[ \t]*([^\r\n]{1,300})")
_COMMENT_END = re.compile(r"[ \t]*(?:\*+/|\*\)|--+!?>|-\}|[#%-]\}+|\]\]|%>|\"\"\"|'''|[*#/]+)?[ \t]*$")
_NAME = r"(?!(?:AND|OR|WITH|NONE|NOASSERTION)(?!\S))[A-Za-z0-9][A-Za-z0-9.-]*"
_ONE = re.compile(rf"(?<!\S)(?:(?:DocumentRef-[\w.-]+:)?LicenseRef-[\w.-]+|{_NAME}\+?)(?: WITH {_NAME})?(?!\S)", re.A)


def licence_of(text: str) -> str:
    """The SPDX identifier of a licence's text, or of a notice that names one, for the common ones; else ""."""
    words = " ".join(re.sub(r"^[ \t#>*/;-]+", "", text.lower(), flags=re.M).split())
    found = ((match.start(), name) for sign, name in _LICENCES if (match := re.search(sign, words)))
    # Licences name others further down, as the GPL does the Affero GPL: the first to be named is the one.
    return min(found, key=lambda pair: pair[0], default=(0, ""))[1]


def spdx_header(text: str) -> str:
    """The SPDX expression that a file's first 20 lines give it in a comment of any style; "" where there is none."""
    match = _HEADER.search(text, 0, 5000)
    if match is None or text.count("\n", 0, match.start()) >= 20:
        return ""
    return expression(_COMMENT_END.sub("", match[1], count=1))


def expression(text: str) -> str:
    """An SPDX licence expression with single spaces; "" where the text is none (its identifiers aren't looked up)."""
    words = re.sub(r"([()])", r" \1 ", text).split()
    tidy = " ".join(word.upper() if word in {"and", "or", "with"} else word for word in words)
    rest, done = "", _ONE.sub("~", tidy) if len(tidy) <= 300 and "~" not in tidy else ""
    while rest != done:
        rest, done = done, re.sub(r"\( ~ \)|~ (?:AND|OR) ~", "~", done, count=1)
    return tidy.replace("( ", "(").replace(" )", ")") if done == "~" else ""


def declared(path: str, text: str) -> str:
    """The SPDX expression in a package's manifest (package.json, composer.json, pyproject.toml, Cargo.toml), or ""."""
    name = PurePosixPath(path).name
    try:
        if name in {"package.json", "composer.json"}:
            rows = json.loads(text.removeprefix("\ufeff"))
            value = _at(rows, "license") or _at(rows, "licenses")
        elif name == "pyproject.toml":
            rows = tomllib.loads(text.replace("\r\n", "\n"))
            value = _at(rows, "project", "license") or _at(rows, "tool", "poetry", "license")
        elif name == "Cargo.toml":
            rows = tomllib.loads(text.replace("\r\n", "\n"))
            value = _at(rows, "package", "license")
            if not isinstance(value, str):
                value = _at(rows, "workspace", "package", "license")
            value = str(value or "").replace("/", " OR ")  # Cargo's old way to say so
        else:
            return ""
    except (ValueError, RecursionError):
        return ""
    return _declared(value)


def _declared(value: Any) -> str:
    if isinstance(value, list):  # any one of them
        names = [_declared(item) for item in value]
        return " OR ".join(f"({name})" if " AND " in name else name for name in names) if all(names) else ""
    if isinstance(value, dict):
        value = value.get("type") or value.get("text")
    if not isinstance(value, str) or value.upper() in {"UNLICENSED", "PROPRIETARY"}:
        return ""
    return expression(value) or licence_of(value)


def _at(rows: Any, *keys: str) -> Any:
    for key in keys:
        rows = rows.get(key) if isinstance(rows, dict) else None
    return rows
