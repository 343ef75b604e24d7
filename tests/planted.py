"""Files with planted secrets, for the tests of redaction and benchmarks/redaction.py: no value is written down here.

`planted()` is what the rules were made with; `held_out()` was written after them, in other words and shapes.
"""

from __future__ import annotations

import base64
import json
import random
import re
import string
from collections.abc import Iterator
from typing import NamedTuple

ALPHABETS = {
    "an": string.ascii_letters + string.digits,
    "hex": "0123456789abcdef",
    "HEX": "0123456789ABCDEF",
    "low": string.ascii_lowercase + string.digits,
    "UP": string.ascii_uppercase + string.digits,
    "cap": string.ascii_uppercase + "234567",
    "sixty": string.ascii_letters + string.digits + "+/",
    "url": string.ascii_letters + string.digits + "-_",
    "let": string.ascii_letters,
    "num": string.digits,
    "nz": "123456789",
    "bech": "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L",
    "salt": string.ascii_letters + string.digits + "!@#%^&*()-_[]{}<>~`+=,.;:/?|",
}


class File(NamedTuple):
    path: str
    text: str
    secrets: list[tuple[str, str]]  # kind and value


def value_of(form: str, rng: random.Random) -> str:
    """A value of a form: `ghp_{an36}`, `{uuid}`, and as many of an alphabet as the number says. Both cases and digits
    are in all that are long enough, as in nearly all real ones."""

    def piece(match: re.Match[str]) -> str:
        if match[1] == "uuid":
            return "-".join("".join(rng.choices(ALPHABETS["hex"], k=n)) for n in (8, 4, 4, 4, 12))
        return "".join(rng.choices(ALPHABETS[match[1]], k=int(match[2]))) if match[1] in ALPHABETS else match[0]

    return re.sub(r"\{([a-zA-Z]+)(\d*)\}", piece, form)


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def password(rng: random.Random) -> str:
    """One that people make: a word changed, a number, a sign."""
    word = rng.choice(["Winter", "dragon", "Falcon", "orbit", "Tulip", "harbor", "Quartz", "pickle"])
    word = word.translate(str.maketrans("aeio", "@310")) if rng.random() < 0.5 else word
    return f"{word}{rng.choice('!#%&*+?')}{rng.randrange(10, 9999)}{rng.choice(['', 'x', 'Q', '!z'])}"


# --- the first set ----------------------------------------------------------------------------------------------------

# By providers' documentation: kind -> form.
TOKENS = {
    "aws_access_key_id": "AKIA{cap16}",
    "github_classic": "ghp_{an36}",
    "github_oauth": "gho_{an36}",
    "github_app": "ghs_{an36}",
    "github_fine_grained": "github_pat_{an22}_{an59}",
    "gitlab_pat": "glpat-{url20}",
    "gitlab_runner": "glrt-{url20}",
    "gitlab_deploy": "gldt-{url20}",
    "slack_bot": "xoxb-{num12}-{num13}-{an24}",
    "slack_app": "xapp-1-A{UP10}-{num13}-{hex64}",
    "slack_webhook": "https://hooks.slack.com/services/T{UP9}/B{UP10}/{an24}",
    "discord_bot": "MT{an24}.{url6}.{url38}",
    "discord_webhook": "https://discord.com/api/webhooks/{num18}/{url68}",
    "telegram_bot": "{nz1}{num9}:AA{url33}",
    "stripe_secret": "sk_live_{an24}",
    "stripe_restricted": "rk_live_{an99}",
    "stripe_webhook": "whsec_{an32}",
    "square": "sq0csp-{url43}",
    "braintree": "access_token$production${low16}${hex32}",
    "twilio_key": "SK{hex32}",
    "sendgrid": "SG.{url22}.{url43}",
    "mailgun": "key-{hex32}",
    "mailchimp": "{hex32}-us14",
    "npm": "npm_{an36}",
    "pypi": "pypi-AgEIcHlwaS5vcmc{url150}",
    "rubygems": "rubygems_{hex48}",
    "nuget": "oy2{low43}",
    "crates": "cio{an32}",
    "docker_hub": "dckr_pat_{url27}",
    "google_api": "AIza{url35}",
    "google_oauth_secret": "GOCSPX-{url28}",
    "google_access": "ya29.{url120}",
    "azure_ad_secret": "{an3}8Q~{an34}",
    "databricks": "dapi{hex32}",
    "digitalocean": "dop_v1_{hex64}",
    "heroku": "HRKU-{uuid}",
    "cloudflare_origin_ca": "v1.0-{hex24}-{hex146}",
    "new_relic": "NRAK-{UP27}",
    "sentry_user": "sntryu_{hex64}",
    "grafana_service": "glsa_{an32}_{hex8}",
    "vault": "hvs.{url95}",
    "terraform": "{an14}.atlasv1.{url67}",
    "pulumi": "pul-{hex40}",
    "doppler": "dp.pt.{an43}",
    "linear": "lin_api_{an40}",
    "notion": "ntn_{num11}{an35}",
    "airtable": "pat{an14}.{hex64}",
    "atlassian": "ATATT3xFfGF0{url180}={HEX8}",
    "bitbucket": "ATBB{an24}{HEX8}",
    "figma": "figd_{url40}",
    "shopify": "shpat_{hex32}",
    "dropbox": "sl.{url138}",
    "facebook": "EAAC{an160}",
    "twitter_bearer": "AAAAAAAAAAAAAAAAAAAAA{an40}%3D{an50}",
    "postman": "PMAK-{hex24}-{hex34}",
    "planetscale": "pscale_tkn_{url43}",
    "supabase": "sbp_{hex40}",
    "netlify": "nfp_{an36}",
    "tailscale": "tskey-auth-{an12}-{an32}",
    "onepassword": "ops_eyJ{an300}",
    "age": "AGE-SECRET-KEY-1{bech58}",
    "openai": "sk-proj-{url74}T3BlbkFJ{url74}",
    "anthropic": "sk-ant-api03-{url93}AA",
    "huggingface": "hf_{let34}",
    "replicate": "r8_{an37}",
    "groq": "gsk_{an52}",
    "perplexity": "pplx-{an48}",
    "mapbox": "sk.eyJ{an80}.{url22}",
    "contentful": "CFPAT-{url43}",
    "buildkite": "bkua_{hex40}",
    "circleci": "CCIPAT_{an22}_{hex40}",
    "sonarqube": "sqp_{hex40}",
    "artifactory": "AKCp{an69}",
    "typeform": "tfp_{an44}_{an14}",
    "adyen": "AQEyhmfxK{sixty120}",
    "plaid": "access-production-{uuid}",
    "easypost": "EZAK{an54}",
    "dynatrace": "dt0c01.{UP24}.{UP64}",
    "wakatime": "waka_{uuid}",
    "jwt": "eyJhbGciOiJIUzI1NiJ9.eyJ{url60}.{url43}",
    "paseto": "v2.local.{url120}",
    "htpasswd_hash": "$apr1${an8}${an22}",
    "bcrypt_hash": "$2y$10${an53}",
    "shadow_hash": "$6${an12}${an86}",
}
# A secret by its name: kind -> frames with the form in place; one file each.
NAMED = {
    "app.py": """import os
API_URL = "https://api.example.com/v2/orders"
DB_PASSWORD = "{password}"
aws_secret_access_key = "{sixty40}"
SECRET_KEY = 'django-insecure-{an24}#$%{an16}'
client = Client(api_key="{hex32}", timeout=30, user_agent="orders/1.2.3")
HEADERS = {{"Authorization": "Bearer {an40}", "Accept": "application/json"}}
config["session_salt"] = "{an24}"
token: str = os.environ["ORDERS_TOKEN"]
""",
    "config.ts": """const encryptionKey: string = '{hex64}';
export const settings = {{ clientSecret: "{an32}", tokenType: 'Bearer', retries: 3 }};
const apiKey =
  '{an40}';
setPassword("{password}");
const testId = 'password-input-1', digest = 'e3b0c44298fc1c149afb';
""",
    ".env": """NODE_ENV=production
STRIPE_PUBLISHABLE=pk_live_placeholder
export POSTMARK_SERVER_TOKEN={uuid}
DATADOG_API_KEY={hex32}
FASTLY_API_TOKEN={url32}
SMTP_PASS={password}
COHERE_API_KEY={an40}
CLOUDFLARE_API_TOKEN={url40}
OKTA_API_TOKEN=00{url40}
TWILIO_AUTH_TOKEN={hex32}
PORT=8080
""",
    "values.yaml": """image: registry.example.com/shop:1.4.2
database:
  host: db.internal
  password: "{password}"
  port: 5432
algolia_admin_key: {hex32}
signingKey: {an48}
webhook_secret: {hex40}
env:
  - name: LINKEDIN_CLIENT_SECRET
    value: {an16}
""",
    "application.properties": """spring.datasource.url=jdbc:mysql://db:3306/shop?user=app&password={an14}
spring.datasource.password={password}
app.jwt-secret={sixty44}
management.port=8081
server.ssl.key-store-password={password}
""",
    "Service.java": """class Service {{
  private static final String API_TOKEN = "{hex40}";
  void connect() {{ props.setProperty("password", "{password}"); }}
  String url = "postgres://app:{an16}@db.example.com:5432/shop";
  static final String CONNECTION = "Server=db;Database=shop;User Id=sa;Password={password};";
}}
""",
    "main.go": """package main
const signingSecret = "{hex64}"
var cfg = Config{{APIKey: "{an32}", Name: "orders", Version: "v1.2.3"}}
req.Header.Set("X-Api-Key", "{an36}")
""",
    "settings.xml": """<settings><server><id>nexus</id><username>deploy</username>
<password>{password}</password></server>
<add key="ApiSecret" value="{an32}"/>
<string name="maps_api_key">{url39}</string></settings>
""",
    "main.tf": """variable "db_password" {{
  type    = string
  default = "{password}"
}}
provider "datadog" {{ api_key = "{hex32}" }}
""",
    "config.php": """<?php
define('AUTH_KEY', '{salt64}');
define('DB_PASSWORD', '{password}');
$config['encryption_key'] = '{hex32}';
$stripe = ['secret' => '{an32}'];
""",
    "deploy.sh": """curl -u admin:{password} https://ci.example.com/build
mysql -h db -u root -p'{password}' shop < dump.sql
sshpass -p '{password}' ssh deploy@host.example
export GH_ENTERPRISE_TOKEN={hex40}
tool login --password={password} --user bob
curl -H "Authorization: token {hex40}" https://api.example.com/repos
""",
    ".npmrc": """registry=https://npm.example.com/
//npm.example.com/:_authToken={uuid}
_auth={basic}
""",
    "docker.json": """{{"auths": {{"registry.example.com": {{"auth": "{basic}"}}}}, "credsStore": ""}}
""",
    "secret.yaml": """apiVersion: v1
kind: Secret
metadata:
  name: shop-secrets
data:
  smtp-login: {encoded}
  db: {encoded}
""",
    ".netrc": """machine api.example.com
  login bob
  password {password}
""",
    ".pgpass": """db.example.com:5432:shop:app:{password}
""",
    "storage.cs": """var s = "DefaultEndpointsProtocol=https;AccountName=shop;AccountKey={sixty86}==;Suffix=x";
var sas = "https://shop.blob.core.windows.net/a?sv=2022-11-02&se=2030&sig={sixty43}%3D";
""",
}
FRAMES = [
    ("{n}.py", 'def call():\n    headers = {{"X": "1"}}\n    return send("{v}", headers)\n'),
    ("{n}.js", "const client = create({{ retries: 3, credentials: '{v}' }});\n// see docs/setup.md#12\n"),
    ("{n}.md", "## Setup\n\nRun with `{v}` as in https://example.com/docs/a1b2.\n"),
    ("{n}.yml", "steps:\n  - run: deploy --id 42\n    with:\n      value: {v}\n"),
    ("{n}.json", '{{"name": "shop", "version": "1.2.3", "x": "{v}"}}\n'),
    ("{n}.rb", "require 'net/http'\nclient = Client.new('{v}')\n"),
    ("{n}.patch", "@@ -1,3 +1,3 @@\n context\n-old = 1\n+fresh = '{v}'\n"),
    ("{n}.rs", 'fn main() {{ let client = Client::new("{v}"); }}\n'),
]


def fill(template: str, kinds: str, rng: random.Random) -> tuple[str, list[tuple[str, str]]]:
    """The template with values in its places, and what they are; `kinds` names them."""
    secrets: list[tuple[str, str]] = []

    def one(match: re.Match[str]) -> str:
        form = match[0]
        if form in ("{{", "}}"):
            return form[0]
        if form == "{password}":
            value = password(rng)
        elif form == "{basic}":
            value = b64(f"deploy:{password(rng)}")
        elif form == "{encoded}":
            value = b64(value_of("{an18}", rng))
        else:
            value = value_of(form, rng)
        secrets.append((f"{form.strip('{}').rstrip('0123456789')} in {kinds}", value))
        return value

    return re.sub(r"\{\{|\}\}|\{[a-zA-Z0-9]+\}", one, template), secrets


def key_block(kind: str, rng: random.Random, prefix: str = "", newline: str = "\n") -> str:
    begin, end = (f"-----{word} {kind}PRIVATE" + " KEY-----" for word in ("BEGIN", "END"))
    lines = [value_of("{sixty64}", rng) for _ in range(6)] + [value_of("{sixty30}", rng) + "=="]
    return newline.join(f"{prefix}{line}" for line in (begin, *lines, end))


def blocks(rng: random.Random) -> Iterator[File]:
    """Private keys, whole and in pieces; the value is a line from within."""
    for number, kind in enumerate(("RSA ", "EC ", "", "OPENSSH ", "DSA ", "ENCRYPTED ")):
        block = key_block(kind, rng)
        yield File(f"key{number}.pem", f"# key\n{block}\n", [(f"private key {kind.strip()}", block.split("\n")[3])])
    block = key_block("RSA ", rng, newline="\\n")
    yield File("account.json", json.dumps({"type": "service_account"})[:-1] + f', "private_key": "{block}\\n"}}\n',
               [("private key in JSON", block.split("\\n")[2])])  # fmt: skip
    block = key_block("", rng, prefix="+")
    yield File("key.patch", f"@@ -0,0 +1,9 @@\n{block}\n", [("private key in a patch", block.split("\n")[2][1:])])
    lines = key_block("RSA ", rng).split("\n")
    yield File("cut.patch", "@@ -1,4 @@\n" + "\n".join(lines[:4]), [("private key, cut below", lines[2])])
    yield File("end.patch", "@@ -9,4 @@\n" + "\n".join(lines[3:]), [("private key, cut above", lines[4])])
    lines = [value_of("{sixty64}", rng) for _ in range(4)]
    text = "PuTTY-User-Key-File-3: ssh-rsa\nPublic-Lines: 1\nAAAA\nPrivate-Lines: 4\n" + "\n".join(lines)
    yield File("key.ppk", f"{text}\nPrivate-MAC: {value_of('{hex64}', rng)}\n", [("PuTTY key", lines[1])])
    value = b64(key_block("RSA ", rng))
    yield File("kubeconfig", f"users:\n- user:\n    client-key-data: {value}\n", [("kubeconfig key", value)])


def planted() -> list[File]:
    """At least 150 secrets of at least 40 kinds."""
    rng = random.Random(2026)
    files = list(blocks(rng))
    for number, (kind, form) in enumerate(TOKENS.items()):
        name, frame = FRAMES[number % len(FRAMES)]
        value = value_of(form, rng)
        files.append(File(name.format(n=kind), frame.format(v=value), [(kind, value)]))
    for path, template in NAMED.items():
        text, secrets = fill(template, path, rng)
        files.append(File(path, text, secrets))
    return files
