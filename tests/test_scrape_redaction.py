"""Secrets become typed placeholders; everything else stays as it is."""

import random
import re
import string
import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from planted import planted
from planted_held_out import held_out
from repositories import Repo, run

from ftlib.scrape import redaction
from ftlib.scrape.redaction import redact
from ftlib.scrape.secret_rules import PLACES, TOKENS, compiled
from ftlib.scrape.secret_values import CHECKS
from ftlib.workspace import open_workspace

ALNUM = string.ascii_letters + string.digits


def noise(length: int, alphabet: str = ALNUM, seed: int = 0) -> str:
    return "".join(random.Random(seed).choices(alphabet, k=length - 1)) + "7"


# Put together here, so that no scanner takes this file for a leak.
UPPER = string.ascii_uppercase + string.digits
KEY_LINES = "\n".join(noise(64, ALNUM + "+/", seed) for seed in range(3))
BEGIN, END = (f"-----{word} RSA PRIVATE" + " KEY-----" for word in ("BEGIN", "END"))
SECRETS = {
    "aws_access_key_id": [("id: {}", "AK" + "IA" + noise(16, UPPER))],
    "aws_secret_key": [('aws_secret_access_key = "{}"', noise(40)), ("AWS_SECRET_ACCESS_KEY={}", noise(40, seed=3))],
    "github_token": [("x = '{}'", "ghp" + "_" + noise(36)), ("{}", "github" + "_pat_" + noise(60))],
    "gitlab_token": [("{}", "glpat" + "-" + noise(20))],
    "slack_token": [("{}", "xoxb" + "-123456789012-" + noise(24))],
    "slack_webhook": [("{}", "https://hooks.slack" + ".com/services/T0AAAAAAA/B0AAAAAAA/" + noise(24))],
    "anthropic_key": [("key={}", "sk-ant" + "-api03-" + noise(40))],
    "openai_key": [("{}", "sk" + "-" + noise(48)), ("{}", "sk" + "-proj-" + noise(48))],
    "google_key": [("key={}&x=1", "AI" + "za" + noise(35))],
    "stripe_key": [("{}", "sk" + "_live_" + noise(24))],
    "huggingface_token": [("{}", "hf" + "_" + noise(34))],
    "npm_token": [("//registry/:_authToken={}", "npm" + "_" + noise(36))],
    "pypi_token": [("{}", "pypi" + "-" + noise(80))],
    "sendgrid_key": [("{}", "SG" + "." + noise(22) + "." + noise(43, seed=1))],
    "jwt": [("{}", "ey" + "J" + noise(20) + ".ey" + "J" + noise(30) + "." + noise(43))],
    "private_key": [
        ("{}", f"{BEGIN}\n{KEY_LINES}\n{END}"),
        ("+{}", f"{BEGIN}\n+" + KEY_LINES.replace("\n", "\n+") + f"\n+{END}"),
        ('k = "{}"', BEGIN + "\\n" + KEY_LINES.replace("\n", "\\n") + "\\n" + END),
        ("{}\nnext()", f"{BEGIN}\n{KEY_LINES}"),
        ("@@ -2 +2 @@\n{}", KEY_LINES + f"\n{END}"),
    ],
    "url_password": [("postgres://user:{}@db.example:5432/x", "hunter2"), ("redis://:{}@h", "p%40ss")],
    "authorization": [("Authorization: Bearer {}", noise(40))],
    "secret": [
        ('api_key = "{}"', noise(24)),
        ("const apiKey: string = '{}'", noise(24)),
        ('{{"clientSecret": "{}"}}', noise(24)),
        (":token => '{}'", noise(24)),
        ("export DB_PASSWORD={}", noise(20)),
        ("+  password: {}", noise(20)),
        ("https://x.example/?a=1&token={}&b=2", noise(24)),
    ],
    "email": [("mail <{}>", "some.one+tag@team.example.org"), ("mailto:{}", "a@b.co")],
}
CASES = [(kind, frame, secret) for kind, cases in SECRETS.items() for frame, secret in cases]


@pytest.mark.parametrize(("kind", "frame", "secret"), CASES)
def test_each_kind(kind, frame, secret):
    text, found = redact(f"before\n{frame.format(secret)}\nafter\n")
    assert text == f"before\n{frame.format(f'<REDACTED:{kind}>')}\nafter\n"
    assert found == {kind: 1}


@pytest.mark.parametrize(("files", "secrets", "kinds"), [(planted(), 150, 40), (held_out(), 150, 40)])
def test_nearly_all_planted_secrets_are_found(files, secrets, kinds):
    values = [(kind, value, redact(file.text)[0]) for file in files for kind, value in file.secrets]
    assert len(values) >= secrets and len({kind for kind, _, _ in values}) >= kinds
    assert sum(value in text for _, value, text in values) <= 0.02 * len(values)


def test_what_stands_around_a_secret_stays():
    wider = {"app.py", ".env", "deploy.sh", "storage.cs"}  # some of their values are parts of a secret; an address
    files = [file for file in planted() if file.path not in wider and not re.search("KEY-|KEY BLOCK|PuTTY", file.text)]
    for file in files:
        expected = file.text
        for _, value in file.secrets:
            expected = expected.replace(value, "<>")
        assert re.sub(r"<REDACTED:\w+>", "<>", redact(file.text)[0]) == expected
    assert len(files) > 90


def test_rules_are_as_the_table_says():
    assert len({rule.kind for rule in TOKENS}) >= 60
    for rule in TOKENS + PLACES:
        assert rule.check in CHECKS and all(rule.hints) and compiled(rule).pattern
    assert all(hint == hint.lower() for rule in PLACES for hint in rule.hints)


def test_the_library_brings_kinds_that_no_rule_of_ours_has():
    value = noise(64, string.ascii_lowercase + string.digits)
    text, found = redact(f"GET https://api.softlayer.com/soap/v3/{value}\n")
    assert found == {"softlayer_credentials": 1} and value not in text
    assert redact(f"GET https://api.softlayer.com/soap/v3/x{value}x\n")[1] == {}  # nothing may stand right beside it


def test_what_was_read_before_changes_nothing():
    texts = [file.text for file in (*planted(), *held_out())]
    once = [redact(text) for text in texts]
    assert [redact(text) for text in texts] == once
    redaction.forget()
    assert [redact(text) for text in reversed(texts)] == once[::-1]


def test_no_sign_in_a_text_is_taken_for_a_mark_of_ours():
    line = f"export API_TOKEN={noise(32)}"
    text, found = redact(f"{line}\n\0\nx = 1\n\1\n{line}\n")
    hidden = "export API_TOKEN=<REDACTED:secret>"
    assert (text, found) == (f"{hidden}\n\0\nx = 1\n\1\n{hidden}\n", {"secret": 2})


PIECES = [
    "a",
    "=",
    "0",
    "key=",
    "password=",
    'key="',
    "-----BEGIN ",
    BEGIN,
    BEGIN + "\n",
    END + "\n",
    "a@b.",
    "a://b:c@",
]
PIECES += [
    "eyJ",
    "A1b2C3d4",
    "kind: Secret\ndata:\n",
    "authorization: bearer ",
    "key\n",
    "artif",
    "\u0130",
    "<REDACTED:x>",
]


@pytest.mark.parametrize("piece", PIECES)
def test_time_grows_with_the_length_only(piece):
    text = piece * (250_000 // len(piece))
    start = time.process_time()
    redact(text)
    assert time.process_time() - start < 5.0  # a third of a second at most; squared it would be minutes


def test_import_is_light():
    code = "import sys, ftlib.scrape; sys.exit('detect_secrets' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    "text",
    [
        "git@github.com:owner/name.git and ssh://deploy@host.example/x, @types/node@18.1.0, logo@home.png",
        "password = getPassword(user); token: accessToken2; secret = 'a-plain-name-with-words-12'",
        'key: "${API_KEY}", token="{{ token }}", password: <your password here>, api_key=process.env.API_KEY',
        "postgres://user:${DB_PASSWORD}@host/x https://u:***@host/ http://localhost:3000/@scope/x",
        "class='sk-fading-circle-with-a-long-name' task-force-of-a-long-name-number-12345678",
        f'const begin = "{BEGIN}";\nconst end = "{END}";\n',
        "sha512-" + noise(86) + "== integrity " + noise(40, "0123456789abcdef"),
        "Basic knowledge of bearer securities and authorization: required",
        'token = "aaaa1111aaaa1111"',
        'data-testid="password-input-1" tokenType = "urn:ietf:params:oauth:token-type:jwt"',
        "token = user.getToken(); const key = item.id; apiKey: props.apiKey2, key={order.items[0].id}",
        "password = os.environ['DB_PASSWORD2']; secret: ${{ secrets.DEPLOY_KEY_2 }} token=$(get_token --id 42)",
        '"password": "Enter your password", passwordLabel = "New password 2!", "auth.password": "Passwort"',
        "secretArn: arn:aws:secretsmanager:eu-west-1:123456789012:secret:shop/db-AbC123 vault: secret/data/shop2",
        'publicKey = "' + noise(64) + '" stripePublicKey: "pk' + "_live_" + noise(24) + '"',
        "commit " + noise(40, "0123456789abcdef") + ' sessionTimeout = "PT30M15S" sort_key: "created_at_2024-01-02"',
        "this@MainActivity.finish() x@y.T @Component({selector: 'app-a1b2'}) getty@tty1.service",
        "-----BEGIN PUBLIC" + " KEY-----\n" + KEY_LINES + "\n-----END PUBLIC" + " KEY-----\n",
        "-----BEGIN CERTI" + "FICATE-----\n" + KEY_LINES + "\n-----END CERTI" + "FICATE-----\n",
        "apiVersion: v1\nkind: ConfigMap\ndata:\n  level: " + noise(24) + "\n",
        'id: "3f2504e0-4f89-41d3-9a0c-0305e82c3301" key: "3f2504e0-4f89-41d3-9a0c-0305e82c3301"',
    ],
)
def test_what_is_no_secret_stays(text):
    assert redact(text) == (text, {})


words = st.text(alphabet=st.characters(exclude_characters="@:=", exclude_categories=["Cs"]), max_size=40)
pieces = st.one_of(st.sampled_from([frame.format(secret) for _, frame, secret in CASES]), st.text(max_size=20), words)


@given(st.lists(pieces, max_size=6).map("".join))
def test_redacting_again_changes_nothing(text):
    once, _ = redact(text)
    assert redact(once) == (once, {})


@given(st.text(max_size=50), st.sampled_from(CASES), st.text(max_size=50))
def test_no_secret_survives_whatever_stands_on_the_lines_around(before, case, after):
    kind, frame, secret = case
    text, found = redact(f"{before}\n{frame.format(secret)}\n{after}")
    assert secret not in text.replace("REDACTED", "") or len(secret) < 8 and secret in before + after + frame
    assert found[kind] >= 1


@given(words)
def test_text_without_secrets_is_unchanged(text):
    assert redact(text) == (text, {})


def test_documents_and_manifest_hold_placeholders_only(tmp_path):
    repo, workspace = Repo(tmp_path / "project.git"), open_workspace(tmp_path / "workspace")
    token, mail = "ghp" + "_" + noise(36), "jo@team.example"
    repo.commit({"a.py": f"T = '{token}'\n", "page.md": f"# Write to {mail}\n"})
    repo.commit({"a.py": "T = ''\n"}, f"Drop {token} (#1)\n\nCo-authored-by: Jo <{mail}>")
    documents, manifest = run(repo, workspace)
    assert documents["pull_request:1"]["title"] == "PR #1: Drop <REDACTED:github_token>"
    assert documents["docs:page.md"]["title"] == "Write to <REDACTED:email>"
    assert manifest["redactions"] == {"email": 3, "github_token": 2}
    lines = {key: {kind: len(lines) for kind, lines in kinds.items()} for key, kinds in manifest["redacted"].items()}
    assert lines == {"docs:page.md": {"email": 2}, "pull_request:1": {"github_token": 2, "email": 1}}
    written = workspace.documents.read_text() + (workspace.root / "documents.manifest.json").read_text()
    assert token not in written and mail not in written
