"""The second set of planted secrets: other providers, names and shapes of code than the rules were made with.

Written once the rules stood. `%form%` marks a secret; the other values are there to mislead.
"""

from __future__ import annotations

import random
import re

from planted import File, b64, key_block, password, value_of

FILES = {
    "gradle.properties": """org.gradle.jvmargs=-Xmx2g
mavenUser=builder
mavenPassword=%password%
signing.keyId=24875D73
signing.password=%{an18}%
RELEASE_STORE_PASSWORD=%password%
artifactoryApiKey=%AKC{an70}%
""",
    "build.gradle": """android { signingConfigs { release {
    storeFile file("release.jks")
    storePassword "%password%"
    keyAlias "upload"
    keyPassword '%password%'
} } }
""",
    "AppDelegate.swift": """import Foundation
let kMixpanelToken: String = "%{hex32}%"
static let mapsKey = "%AIza{url35}%"
let request = URLRequest(url: URL(string: "https://api.example.com/v1/items?page=2")!)
request.setValue("Bearer %{an43}%", forHTTPHeaderField: "Authorization")
""",
    "Keys.kt": """object Keys {
    const val OPENWEATHER_API_KEY = "%{hex32}%"
    val refreshToken: String = "%{url64}%"
    @Deprecated("use v2") const val SCREEN = "order_details_v2"
    val adminPwd by lazy { "%password%" }
}
""",
    "prod.exs": """import Config
config :shop, ShopWeb.Endpoint,
  secret_key_base: "%{sixty64}%",
  live_view: [signing_salt: "%{an16}%"]
config :shop, Shop.Repo, password: "%password%", pool_size: 15
config :swoosh, api_key: "%SG.{url22}.{url43}%"
""",
    "core.clj": """(def db {:dbtype "postgresql" :user "app" :password "%password%" :port 5432})
(def api-token "%{hex40}%")
(defn handler [request] (ok {:status "up" :build "a1b2c3d"}))
""",
    "mail.pl": """my $smtp_pass = '%password%';
my %opts = (timeout => 30, 'api-key' => '%key-{hex32}%');
our $hmac_key = "%{hex64}%";
""",
    "deploy.ps1": """$Env:AZURE_CLIENT_SECRET = "%{an3}8Q~{an34}%"
$secure = ConvertTo-SecureString "%password%" -AsPlainText -Force
Invoke-RestMethod -Uri https://api.example.com/v1 -Headers @{ 'x-api-key' = '%{an32}%' }
net use Z: \\\\files\\share
""",
    "grants.sql": """CREATE USER 'report'@'%host' IDENTIFIED BY '%password%';
ALTER ROLE app WITH PASSWORD '%password%';
INSERT INTO feature(name, enabled) VALUES ('checkout_v2', true);
""",
    "analysis.R": """library(httr)
api_key <- "%{hex32}%"
con <- dbConnect(drv, host = "db", user = "ro", password = "%password%")
Sys.setenv(WANDB_API_KEY = "%{hex40}%")
""",
    "bot.lua": """local token = "%MT{an24}.{url6}.{url38}%"
local cfg = { secret = "%{hex40}%", retries = 3, prefix = "!" }
""",
    "Job.scala": """val conf = new SparkConf().set("spark.hadoop.fs.s3a.secret.key", "%{sixty40}%")
val jdbc = "jdbc:postgresql://db:5432/shop?user=etl&password=%{an16}%&ssl=true"
""",
    "client.cpp": """static const char* kApiSecret = "%{hex48}%";
#define LICENSE_KEY "%{UP5}-{UP5}-{UP5}-{UP5}-{UP5}%"
std::string url = "mqtts://sensor:%{an14}%@broker.example.com:8883";
""",
    "Program.cs": """var options = new JwtOptions { Issuer = "shop", SigningKey = "%{sixty43}=%" };
var cs = "Data Source=sql;Initial Catalog=Shop;User ID=shop;Pwd=%password%;MultipleActiveResultSets=True";
services.AddStripe(o => o.ApiKey = "%rk_live_{an99}%");
""",
    "appsettings.Production.json": """{
  "Logging": {"LogLevel": {"Default": "Warning"}},
  "ConnectionStrings": {"Main": "Server=db;Database=shop;Uid=app;Password=%password%;"},
  "Twilio": {"AccountSid": "%AC{hex32}%", "AuthToken": "%{hex32}%"},
  "SendGrid": {"ApiKey": "%SG.{url22}.{url43}%"},
  "Auth0": {"Domain": "shop.eu.auth0.com", "ClientSecret": "%{url64}%"}
}
""",
    "nuget.config": """<configuration><packageSourceCredentials><Feed>
<add key="Username" value="ci" />
<add key="ClearTextPassword" value="%{low52}%" />
</Feed></packageSourceCredentials></configuration>
""",
    "strings.xml": """<resources><string name="app_name">Shop</string>
<string name="facebook_client_token" translatable="false">%{hex32}%</string></resources>
""",
    "Info.plist": """<dict><key>CFBundleVersion</key><string>42</string>
<key>AmplitudeApiKey</key>
<string>%{hex32}%</string></dict>
""",
    "docker-compose.yml": """services:
  db:
    image: postgres:16.2
    environment:
      - POSTGRES_USER=shop
      - POSTGRES_PASSWORD=%password%
      MYSQL_ROOT_PASSWORD: %{an20}%
  minio:
    command: server /data
    environment: {MINIO_ROOT_USER: admin, MINIO_ROOT_PASSWORD: "%password%"}
""",
    "Dockerfile": """FROM node:20
ENV SENTRY_AUTH_TOKEN=%sntrys_eyJpYXQiO{an120}_{an43}%
ENV REDIS_PASSWORD %{an24}%
RUN npm config set //registry.npmjs.org/:_authToken %npm_{an36}%
""",
    "release.yml": """on: push
jobs:
  ship:
    env:
      SNYK_TOKEN: %{uuid}%
      CODECOV_TOKEN: ${{ secrets.CODECOV_TOKEN }}
    steps:
      - uses: actions/checkout@v4
      - run: vercel deploy --token %{an24}% --prod
      - run: curl -sSL -H 'PRIVATE-TOKEN: %glpat-{url20}%' https://gitlab.example.com/api/v4/projects
""",
    "group_vars.yml": """ansible_user: deploy
ansible_become_pass: "%password%"
vault_grafana_admin_password: '%{an20}%'
rollbar_access_token: %{hex32}%
pagerduty_key: %{url20}%
""",
    "k8s.yaml": """kind: Secret
apiVersion: v1
metadata: {name: api}
type: Opaque
stringData:
  DATABASE_URL: mysql://root:%{an16}%@mysql:3306/shop
  jwt: "%{an48}%"
---
kind: ConfigMap
data:
  LOG_LEVEL: debug
""",
    "secrets.yml": """production:
  secret_key_base: %{hex128}%
  devise_pepper: %{hex64}%
  aws:
    access_key_id: %AKIA{cap16}%
    secret_access_key: %{sixty40}%
""",
    "laravel.env": """APP_KEY=base64:%{sixty43}=%
MAIL_PASSWORD="%password%"
PUSHER_APP_SECRET=%{hex20}%
MIX_PUSHER_APP_CLUSTER=eu
AWS_SESSION_TOKEN=%{sixty220}%
XAI_KEY=%xai-{an80}%
OPENROUTER=%sk-or-v1-{hex64}%
MISTRAL_API_KEY=%{an32}%
PINECONE_API_KEY=%{uuid}%
HEROKU_API_KEY=%{uuid}%
LINODE_CLI_TOKEN=%{hex64}%
ELASTIC_PASSWORD=%{an24}%
GITHUB_WEBHOOK_SECRET=%{hex40}%
""",
    "credentials": """[default]
aws_access_key_id = %ASIA{cap16}%
aws_secret_access_key = %{sixty40}%
[other]
region = eu-west-1
""",
    "redis.conf": """port 6379
requirepass %{an32}%
masterauth %password%
maxmemory 256mb
""",
    "wg0.conf": """[Interface]
Address = 10.0.0.2/24
PrivateKey = %{sixty43}=%
[Peer]
PresharedKey = %{sixty43}=%
""",
    "shadow": """root:%$6${an16}${an86}%:19700:0:99999:7:::
daemon:*:19000:0:99999:7:::
""",
    "users.htpasswd": """alice:%$2b$12${an53}%
bob:%$apr1${an8}${an22}%
""",
    "ldap.ldif": """dn: uid=svc,dc=example,dc=org
userPassword: %{SSHA}{sixty38}=%
""",
    "requests.http": """POST https://api.example.com/v1/login?session_token=%{an40}%&lang=en
X-Auth-Token: %{hex32}%
Authorization: Basic %basic%
Cookie: theme=dark; sessionid=%{low32}%
""",
    "fetch.sh": """curl --user "svc:%password%" -X POST https://ci.example.com/job/build
wget --http-password=%password% https://files.example.com/a.tgz
http POST api.example.com X-API-Key:%{an36}%
PGPASSWORD='%password%' psql -h db -U app
docker login -u ci -p %dckr_pat_{url27}% registry.example.com
echo "%ghp_{an36}%" | gh auth login --with-token
openssl rsa -in k.pem -passin pass:%password% -out k2.pem
""",
    "scrape.py": """session = requests.Session()
session.auth = ("svc-shop", "%password%")
engine = create_engine("mysql+pymysql://shop:%{an18}%@10.0.0.4/shop")
SMTP = dict(host="mail", user="shop", passwd='%password%')
fernet = Fernet(b"%{url43}=%")
openai.api_key = "%sk-{an20}T3BlbkFJ{an20}%"
MONGO = "mongodb+srv://app:%{an16}%@cluster0.ab1cd.mongodb.net/?retryWrites=true"
signer = URLSafeTimedSerializer(secret_key="%{an30}%")
parser.add_argument("--token", default="%hf_{let34}%")
os.environ.setdefault("REPLICATE_API_TOKEN", "%r8_{an37}%")
key = os.getenv("DEEPGRAM_KEY") or "%{hex40}%"
""",
    "index.mjs": """import Stripe from 'stripe';
const stripe = new Stripe(process.env.STRIPE ?? '%sk_live_{an99}%');
firebase.initializeApp({ apiKey: "%AIza{url35}%", appId: "1:1234567890:web:a1b2c3" });
export const jwtOptions = { secretOrKey: `%{an40}%`, expiresIn: '1h' };
const algolia = algoliasearch('QX5KLM1ABC', '%{hex32}%');
window.intercomSettings = { app_id: "abcd1234", identity_secret: "%{url40}%" };
const hook = 'https://discordapp.com/api/webhooks/%{num18}/{url68}%';
module.exports.cookieKeys = ['%{hex32}%', '%{hex32}%'];
""",
    "handler.rb": """Slack.configure { |c| c.token = '%xoxp-{num12}-{num12}-{num12}-{hex32}%' }
Rails.application.config.secret_token = '%{hex128}%'
Octokit::Client.new(access_token: "%gho_{an36}%")
ENV['BRAINTREE_PRIVATE_KEY'] ||= '%{hex32}%'
""",
    "server.rs": """const PASETO_KEY: &[u8] = b"%{hex64}%";
let auth = Credentials::new("svc".to_string(), "%password%".to_string());
let admin_token = String::from("%{an40}%");
""",
    "notes.md": """# Runbook

Staging login is `ops@example.net`, password: `%password%`.
The API key is `%{an40}%`. Old PAT: %github_pat_{an22}_{an59}%
Build 3f2504e0-4f89-41d3-9a0c-0305e82c3301 failed on 2024-02-03.
""",
    "change.patch": """--- a/config.py
+++ b/config.py
@@ -1,3 +1,3 @@
-PAYPAL_SECRET = "%{an80}%"
+PAYPAL_SECRET = os.environ["PAYPAL_SECRET"]
 RETRIES = 3
-    passphrase: '%password%',
+    zendesk_api_token: "%{an40}%",
""",
    "terraform.tfvars": """region = "eu-west-1"
master_password = "%password%"
cloudflare_api_token = "%{url40}%"
fastly_key = "%{url32}%"
tags = { owner = "team-a1", cost = "cc-1042" }
""",
    "haproxy.cfg": """userlist ops
  user admin insecure-password %password%
  user ro password %$5${an12}${an43}%
""",
    "config.toml": """[auth]
jwt_secret = "%{url64}%"
cookie_name = "sid"
[smtp]
pass = '%password%'
[keys]
tavily = "%tvly-{an32}%"
posthog_personal = "%phx_{an43}%"
launchdarkly = "%sdk-{uuid}%"
shippo = "%shippo_live_{hex40}%"
resend = "%re_{an8}_{an24}%"
brevo = "%xkeysib-{hex64}-{an16}%"
duffel = "%duffel_live_{url43}%"
flutterwave = "%FLWSECK-{low32}-X%"
prefect = "%pnu_{an36}%"
infracost = "%ico-{an32}%"
readme = "%rdme_{low70}%"
sourcegraph = "%sgp_{hex16}_{hex40}%"
square = "%EAAA{url60}%"
pat = "%glptt-{hex40}%"
""",
}


def held_out() -> list[File]:
    rng = random.Random(77)
    files = list(_keys(rng))
    for path, template in FILES.items():
        secrets: list[tuple[str, str]] = []

        def one(match: re.Match[str], path: str = path, secrets: list[tuple[str, str]] = secrets) -> str:
            form = match[1]
            if form == "password":
                value = password(rng)
            elif form == "basic":
                value = b64(f"svc:{password(rng)}")
            else:
                value = value_of(form, rng)
            secrets.append((f"{form.partition('{')[0] or form} in {path}", value))
            return value

        files.append(File(path, re.sub(r"%((?:password|basic)|(?=[^%\n]*\{)[^%\n ]*)%", one, template), secrets))
    return files


def _keys(rng: random.Random) -> list[File]:
    rsa, ec, old = key_block("RSA ", rng), key_block("EC ", rng), key_block("", rng)
    inner = rsa.split("\n")
    indented = "tls:\n  key: |\n" + "".join(f"    {line}\n" for line in inner) + "  mode: strict\n"
    spaces = 'PRIVATE_KEY="' + ec.replace("\n", " ") + '"\nPORT=80\n'
    joined = "String pem = " + " +\n    ".join(f'"{line}\\n"' for line in old.split("\n")) + ";\n"
    block = " BLOCK-----\n\n"
    pgp = key_block("PGP ", rng).replace("KEY-----\n", "KEY" + block, 1).replace("KEY-----", "KEY BLOCK-----")
    removed = "@@ -1,9 +0,0 @@\n" + "".join(f"-{line}\n" for line in rsa.split("\n"))
    jwk = value_of('{{"kty": "RSA", "n": "{url86}", "e": "AQAB", "d": "'.replace("{{", "{"), rng)
    d = value_of("{url86}", rng)
    return [
        File("values.tls.yaml", indented, [("key in YAML", inner[3])]),
        File("one-line.env", spaces, [("key on one line", ec.split("\n")[3])]),
        File("Pem.java", joined, [("key in Java", old.split("\n")[3])]),
        File("secring.asc", pgp, [("PGP key", pgp.split("\n")[4])]),
        File("removed.patch", removed, [("key removed", inner[4])]),
        File("jwk.json", f'{jwk}{d}"}}\n', [("JWK", d)]),
    ]
