"""ftlib.scrape.licences: texts, notices, headers of files and manifests of packages."""

from pathlib import Path

import pytest

from ftlib.scrape.licences import declared, expression, licence_of, spdx_header

COPY = "Permission is hereby granted, free of charge, to any person obtaining a copy of this software "
KEEP = "The above copyright notice and this permission notice shall be included in all copies. "
BSD = "Redistribution and use in source and binary forms, with or without modification, are permitted "
ISC = "Permission to use, copy, modify, and/or distribute this software for any purpose with or without fee is hereby "
FSF = "as published by the Free Software Foundation"
TEXTS = [
    ("GNU AFFERO GENERAL PUBLIC LICENSE\n  Version 3, 19 November 2007 ... GNU General Public License", "AGPL-3.0"),
    ("GNU GENERAL PUBLIC LICENSE\n Version 3, 29 June 2007 ... GNU Affero General Public License", "GPL-3.0"),
    ("GNU GENERAL PUBLIC LICENSE\n Version 2, June 1991 ... GNU Library General Public License", "GPL-2.0"),
    ("GNU LESSER GENERAL PUBLIC LICENSE\nVersion 3, 29 June 2007 ... version 3 of the GNU General", "LGPL-3.0"),
    ("GNU LESSER GENERAL PUBLIC LICENSE\nVersion 2.1, February 1999 ... version 2", "LGPL-2.1"),
    ("GNU LIBRARY GENERAL PUBLIC LICENSE\nVersion 2, June 1991", "LGPL-2.0"),
    (f"the GNU General Public License {FSF}, either version 3 of the\nLicense, or (at your option) any later version.",
     "GPL-3.0-or-later"),
    (f"# the GNU General Public License\n# {FSF}; version 2.", "GPL-2.0-only"),
    (f"the GNU Lesser General Public\n * License {FSF}; either version 2.1 or (at your option) any later",
     "LGPL-2.1-or-later"),
    (f"the GNU Affero General Public License {FSF}, version 3 of the License.", "AGPL-3.0-only"),
    ("Apache License\n   Version 2.0, January 2004", "Apache-2.0"),
    ("Licensed under the Apache License, Version 2.0 (the License)", "Apache-2.0"),
    ("Mozilla Public License Version 2.0", "MPL-2.0"),
    ("Eclipse Public License - v 2.0", "EPL-2.0"),
    ("Eclipse Public License - v 1.0", "EPL-1.0"),
    ("EUROPEAN UNION PUBLIC LICENCE v. 1.2 ... Mozilla Public License v. 2.0", "EUPL-1.2"),
    ("Boost Software License - Version 1.0 - August 17th, 2003", "BSL-1.0"),
    ("“Business Source License” is a trademark ... Change License: Apache License, Version 2.0", "BUSL-1.1"),
    ("Elastic License 2.0\n\nURL: x", "Elastic-2.0"),
    ("Server Side Public License\n VERSION 1, OCTOBER 16, 2018 ... GNU General Public License version 3", "SSPL-1.0"),
    ("The Artistic License 2.0", "Artistic-2.0"),
    ("DO WHAT THE FUCK YOU WANT TO PUBLIC LICENSE", "WTFPL"),
    ("This is free and unencumbered software released", "Unlicense"),
    ("Creative Commons Legal Code\n\nCC0 1.0 Universal", "CC0-1.0"),
    ("Attribution 4.0 International", "CC-BY-4.0"),
    ("Creative Commons Attribution-ShareAlike 4.0 International Public License", "CC-BY-SA-4.0"),
    ("Attribution-NonCommercial-NoDerivatives 4.0 International", "CC-BY-NC-ND-4.0"),
    (f"{COPY}to deal. {KEEP}THE SOFTWARE IS PROVIDED", "MIT"),
    (f"{COPY}to deal. THE SOFTWARE IS PROVIDED", "MIT-0"),
    (f"{COPY}to deal. Redistributions of source code must retain. THE SOFTWARE IS PROVIDED", "NCSA"),
    (f"{ISC}granted, provided that the above copyright notice", "ISC"),
    (f"{ISC}granted.\n\nTHE SOFTWARE IS PROVIDED", "0BSD"),
    ("Permission to use, copy, modify, and distribute this software and its documentation for any purpose, without "
     "fee, and without a written agreement is hereby granted", "PostgreSQL"),
    ("Altered source versions must be plainly marked as such", "Zlib"),
    (f"{BSD}provided ... Neither the name of", "BSD-3-Clause"),
    (f"{BSD}provided ... names of its contributors may not be used to endorse", "BSD-3-Clause"),
    (f"{BSD}provided ... THIS SOFTWARE", "BSD-2-Clause"),
    (f"{BSD}provided ... All advertising materials mentioning features ... Neither the name", "BSD-4-Clause"),
    (f"Apache License Version 2.0 ... {COPY}{KEEP}", "Apache-2.0"),
    ("All rights reserved.", ""),
    ("GNU General Public License", ""),
    ("", ""),
]  # fmt: skip


@pytest.mark.parametrize(("text", "name"), TEXTS, ids=[f"{n} {name}" for n, (_, name) in enumerate(TEXTS)])
def test_text(text, name):
    assert licence_of(text) == name


def test_own_licence():
    assert licence_of((Path(__file__).parents[1] / "LICENSE").read_text()) == "Apache-2.0"


HEADERS = {
    "// {}": "MIT",
    "# {}": "Apache-2.0 OR MIT",
    "/* {} */": "GPL-2.0-only WITH Classpath-exception-2.0",
    "/*\n * Copyright\n *\n * {}\n */": "(MIT AND BSD-3-Clause) OR LGPL-2.1-or-later",
    "/*{}**/": "GPL-2.0+",
    "-- {}": "LicenseRef-Our-own.1",
    "<!-- {} -->": "DocumentRef-x:LicenseRef-y",
    "<!--\n{}-->": "CC-BY-SA-4.0",
    "; {}": "0BSD",
    "%% {}": "MIT-0",
    "REM {}": "EUPL-1.2",
    "(* {} *)": "ISC",
    "{{- {} -}}": "BSD-3-Clause",
    "{{# {} #}}": "MIT",
    "--[[ {} ]]": "MIT",
    '""" {} """': "MIT",
    "#!/bin/sh\r\n# {}\r\n": "MIT",
    "\n" * 19 + "// {}": "MIT",
}


@pytest.mark.parametrize("comment", HEADERS)
def test_header(comment):
    text = comment.format(f"SPDX-License-Identifier: {HEADERS[comment]}")
    assert spdx_header(f"{text}\ncode MIT\n") == HEADERS[comment]


@pytest.mark.parametrize(
    "value",
    ["", "*/", "<licence>", "${{name}}", "MIT, see LICENSE", "MIT OR", "OR MIT", "MIT Apache-2.0", "(MIT", "MIT)", "()"]
    + [
        "MIT WITH",
        "MIT WITH AND",
        "NONE",
        "NOASSERTION",
        "AND",
        "MIT\\n', x",
        "a/b",
        "~",
        "(" * 200,
        "Ⅿit",
        "MIT OR ~",
    ],
)
def test_header_that_is_garbage(value):
    assert spdx_header(f"// SPDX-License-Identifier: {value}\n") == ""


def test_header_is_looked_for_at_the_top():
    assert spdx_header("\n" * 20 + "// SPDX-License-Identifier: MIT\n") == ""
    assert spdx_header("x = 1\n") == spdx_header("") == ""
    assert spdx_header("// SPDX-License-Identifier: MIT\n// SPDX-License-Identifier: ISC\n") == "MIT"


def test_expression_is_tidied():
    assert expression(" ( MIT  or  Apache-2.0 )\tand ISC") == "(MIT OR Apache-2.0) AND ISC"
    assert expression("((MIT))") == "((MIT))"


MANIFESTS = [
    ("package.json", '{"name": "x", "license": "MIT"}', "MIT"),
    ("sub/package.json", '\ufeff{"license": "(MIT OR Apache-2.0)"}', "(MIT OR Apache-2.0)"),
    ("package.json", '{"license": {"type": "ISC", "url": "x"}}', "ISC"),
    ("package.json", '{"licenses": [{"type": "MIT"}, {"type": "GPL-2.0-only"}]}', "MIT OR GPL-2.0-only"),
    ("package.json", '{"license": "SEE LICENSE IN x.txt"}', ""),
    ("package.json", '{"license": "UNLICENSED"}', ""),
    ("package.json", '{"license": 3}', ""),
    ("package.json", '["MIT"]', ""),
    ("package.json", '{"license": "MIT"', ""),
    ("package.json", "[" * 100_000, ""),
    ("package.json", "", ""),
    ("composer.json", '{"license": "MIT"}', "MIT"),
    ("composer.json", '{"license": ["LGPL-2.1-only", "GPL-3.0-or-later"]}', "LGPL-2.1-only OR GPL-3.0-or-later"),
    ("composer.json", '{"license": ["MIT", 1]}', ""),
    ("composer.json", '{"license": []}', ""),
    ("composer.json", '{"license": "proprietary"}', ""),
    ("pyproject.toml", '[project]\nlicense = "MIT AND ISC"\n', "MIT AND ISC"),
    ("pyproject.toml", '[project]\r\nlicense = {text = "BSD-3-Clause"}\r\n', "BSD-3-Clause"),
    ("pyproject.toml", f'[project]\nlicense = {{text = """{COPY}{KEEP}"""}}\n', "MIT"),
    ("pyproject.toml", '[project]\nlicense = {text = "MIT License"}\n', "MIT"),
    ("pyproject.toml", '[project]\nlicense = {text = "BSD 3-Clause License"}\n', "BSD-3-Clause"),
    ("package.json", '{"license": "Apache 2.0"}', "Apache-2.0"),
    ("pyproject.toml", '[project]\nlicense = {file = "LICENSE"}\n', ""),
    ("pyproject.toml", '[tool.poetry]\nlicense = "ISC"\n', "ISC"),
    ("pyproject.toml", "project = 1\n", ""),
    ("pyproject.toml", "[project\n", ""),
    ("Cargo.toml", '[package]\nlicense = "MIT/Apache-2.0"\n', "MIT OR Apache-2.0"),
    ("Cargo.toml", '[package]\nlicense.workspace = true\n[workspace.package]\nlicense = "MPL-2.0"\n', "MPL-2.0"),
    ("Cargo.toml", '[package]\nname = "x"\n', ""),
    ("other.json", '{"license": "MIT"}', ""),
]


@pytest.mark.parametrize(("path", "text", "name"), MANIFESTS)
def test_manifest(path, text, name):
    assert declared(path, text) == name
