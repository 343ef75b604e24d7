"""What secrets look like: a row for each format that a provider documents, and one for each place a password stands in.

The formats are those that the providers publish for secret scanning; gitleaks, kingfisher, CredSweeper and GitHub list
the same ones. Publishable keys (`pk_live_`, `phc_`) and client ids are no secrets and have no row.
"""

from __future__ import annotations

import re
from functools import cache
from typing import NamedTuple


class Rule(NamedTuple):
    """What `pattern` matches, or its group `secret` where it has one, is replaced if `check` agrees.

    Without one of `hints` in the text the pattern is not tried. `check` names a function of secret_names.CHECKS.
    """

    kind: str
    hints: tuple[str, ...]
    check: str
    pattern: str
    flags: int


@cache
def compiled(rule: Rule) -> re.Pattern[str]:
    """A rule's pattern; most are never needed, and all of them take longer to compile than a repository to scan."""
    return re.compile(rule.pattern, rule.flags)


# kind, hints, check, pattern; `(?S` begins the group of the secret. No letter or digit stands beside a match, but `\n`
# of a string constant may.
_TOKENS = r"""
github_token ghp_,gho_,ghu_,ghs_,ghr_ - gh[pousr]_[A-Za-z0-9_]{30,255}
github_token github_pat_ - github_pat_\w{22,255}
gitlab_token glpat-,glrt,glptt- - gl(?:pat|rt|rtr|ptt)-[A-Za-z0-9_.-]{19,300}[A-Za-z0-9_-]
gitlab_token gloas-,gldt-,glcbt-,glft-,glwt- - gl(?:oas|dt|cbt|ft|wt)-[A-Za-z0-9_.-]{19,300}[A-Za-z0-9_-]
gitlab_token glffct-,glimt-,glagent-,glsoat- - gl(?:ffct|imt|agent|soat)-[A-Za-z0-9_.-]{19,300}[A-Za-z0-9_-]
gitlab_token GR1348941 - GR1348941[\w-]{20}
gitlab_token _gitlab_session - _gitlab_session=(?S[0-9a-f]{32})
slack_token xox - xox[a-z](?:\.xox[a-z])?-[A-Za-z0-9-]{10,300}
slack_token xapp- - xapp-[A-Za-z0-9-]{10,300}
slack_webhook hooks.slack.com - (?:https?://)?hooks\.slack\.com/(?:services|workflows|triggers)/[\w/]{20,}
discord_webhook /api/webhooks/ - https?://(?:\w+\.)?discord(?:app)?\.com/api/webhooks/\d{16,22}/[\w-]{40,100}
teams_webhook .office.com/webhook - https://(?:[\w-]+\.webhook|outlook)\.office\.com/webhook(?:b2)?/[\w@/-]{60,300}
webhook_url hook random https?://[\w.-]{1,80}/(?:[\w-]{1,60}/){0,4}(?:web)?hooks?/(?:[\w-]{1,60}/){0,4}(?S[\w-]{20,100})
zapier_webhook hooks.zapier.com - https://hooks\.zapier\.com/hooks/(?:catch|standard)/[\w/-]{10,80}
discord_bot_token . random [MNO][A-Za-z0-9_-]{23,27}\.[A-Za-z0-9_-]{6}\.[A-Za-z0-9_-]{27,40}
telegram_bot_token :A - \d{8,11}:A[A-Za-z0-9_-]{34}
anthropic_key sk-ant- random sk-ant-[\w-]{20,250}
openrouter_key sk-or- random sk-or-[\w-]{20,120}
openai_key sk- random sk-[\w-]{20,250}
google_key AIza - AIza[\w-]{35}
google_key GOCSPX- - GOCSPX-[\w-]{20,40}
google_key ya29. - ya29\.[\w-]{22,2000}
google_key 1//0 - 1//0[\w-]{30,300}
stripe_key k_live_,k_test_,k_prod_ - [sr]k_(?:live|test|prod)_\w{10,250}
stripe_key whsec_ - whsec_[\w+/=]{24,100}
square_token sq0 - sq0[a-z]{3}-[\w-]{22,60}
square_token EAAA - EAAA[\w-]{60}
braintree_token access_token$ - access_token\$(?:production|sandbox)\$[0-9a-z]{16}\$[0-9a-f]{32}
plaid_token access- - access-(?:sandbox|development|production)-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}
adyen_key AQE - AQE[a-z][\w+/=.<({}*-]{60,250}
flutterwave_key FLWSECK - FLWSECK(?:_TEST)?-[0-9a-zA-Z]{12,40}(?:-X)?
easypost_key EZAK,EZTK - EZ[AT]K[A-Za-z0-9]{54}
duffel_token duffel_ - duffel_(?:test|live)_[\w=-]{40,50}
shippo_token shippo_ - shippo_(?:live|test)_[0-9a-fA-F]{40}
paddle_key pdl_ - pdl_(?:live|sdbx)_apikey_[\w]{30,80}
mercadopago_token APP_USR- random APP_USR-[\w-]{30,80}
lob_key live_,test_ - (?:live|test)_[0-9a-f]{35}
polar_token polar_ - polar_(?:oat|pat|whs)_\w{30,60}
razorpay_key rzp_ - rzp_(?:live|test)_\w{14,30}
twilio_key SK,AC - (?:SK|AC)[0-9a-f]{32}
sendgrid_key SG. - SG\.[\w-]{16,32}\.[\w-]{16,64}
mailgun_key key- - key-[0-9a-z]{32}
mailgun_key - - [0-9a-f]{32}-[0-9a-f]{8}-[0-9a-f]{8}
mailchimp_key -us - [0-9a-f]{32}-us\d{1,2}
mandrill_key md- random md-[\w-]{22}
brevo_key xkeysib-,xsmtpsib- - x(?:key|smtp)sib-[0-9a-f]{64}-[\w-]{10,20}
resend_key re_ random re_[A-Za-z0-9]{7,9}_[A-Za-z0-9]{20,30}
npm_token npm_ - npm_[A-Za-z0-9]{36,100}
pypi_token pypi- - pypi-[\w-]{50,1000}
rubygems_key rubygems_ - rubygems_[0-9a-f]{48}
nuget_key oy2 - oy2[a-z0-9]{43}
crates_token cio random cio[A-Za-z0-9]{32}
clojars_token CLOJARS_ - CLOJARS_[0-9a-f]{60}
docker_token dckr_ - dckr_[op]at_[\w-]{27,36}
docker_swarm_key SWMTKN-,SWMKEY- - SWM(?:TKN|KEY)-1-[A-Za-z0-9+/-]{40,110}
aws_access_key_id A - (?:A3T[A-Z0-9]|ABIA|ACCA|AGPA|AIDA|AIPA|AKIA|ANPA|ANVA|APKA|AROA|ASCA|ASIA)[A-Z0-9]{16,17}
aws_bedrock_key ABSK,bedrock-api-key- - (?:ABSK|bedrock-api-key-)[A-Za-z0-9+/]{28,2000}={0,2}
aws_appsync_key da2- - da2-[a-z0-9]{26}
aws_mws_token amzn.mws. - amzn\.mws\.[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}
amazon_oauth_secret amzn1.oa2-cs - amzn1\.oa2-cs\.v1\.[0-9a-f]{64}
azure_client_secret Q~ - [\w~.-]{3}[0-9]Q~[\w~.-]{31,34}
azure_key JQQJ9 - [A-Za-z0-9]{52}JQQJ9[9DH][A-Za-z0-9]{24,26}[A-Za-z0-9=]{0,4}
azure_key AzFu,AzSe,AzCa,ASt,ACDb,ASbT,AEh,ARm,AIoT random [A-Za-z0-9+/]{33,76}[A-Za-z+]{4}[A-Za-z0-9+/]{5,6}={1,2}
alibaba_key LTAI random LTAI[A-Za-z0-9]{12,20}
tencent_key AKID random AKID[A-Za-z0-9]{32}
yandex_key AQVN,t1.,YC random (?:AQVN[\w-]{35,38}|t1\.[\w-]{20,}={0,2}\.[\w-]{86}={0,2}|YC[\w-]{38})
databricks_token dapi - dapi[0-9a-h]{32}(?:-\d)?
digitalocean_token _v1_ - do[opr]_v1_[0-9a-f]{64}
heroku_key HRKU- - HRKU-[\w-]{36,62}
cloudflare_key v1.0- - v1\.0-[0-9a-f]{24}-[0-9a-f]{100,160}
cloudflare_key cfat_,cfut_,cfk_ - cf(?:at|ut|k)_[A-Za-z0-9]{40,60}
newrelic_key NR - NR(?:AK|II|IQ|JS|BR|RA|SP|MA)-[A-Za-z0-9_-]{19,40}
newrelic_key NRAL - [0-9a-f]{36}NRAL
sentry_token sntry - sntry[sui]_[\w+/=-]{40,500}
grafana_token glsa_ - glsa_[A-Za-z0-9]{32}_[0-9a-fA-F]{8}
grafana_token glc_ - glc_[A-Za-z0-9+/]{32,400}={0,3}
grafana_token eyJrIjoi - eyJrIjoi[A-Za-z0-9_-]{40,400}={0,3}
dynatrace_token dt0 - dt0[a-z]\d\d\.[A-Z0-9]{8,24}\.[A-Z0-9]{64}
honeycomb_key hc random hc[abxi][a-z]{2}_[a-z0-9]{26,58}
vault_token hvs.,hvb.,hvr. - hv[sbr]\.[\w-]{20,300}
vault_token s. random s\.[A-Za-z0-9]{24}
terraform_token .atlasv1. - [A-Za-z0-9]{14}\.atlasv1\.[\w=-]{60,70}
pulumi_token pul- - pul-[0-9a-f]{40}
doppler_token dp. - dp\.(?:pt|st|ct|sa|scim|audit)\.(?:[\w-]{2,35}\.)?[A-Za-z0-9]{40,44}
infracost_key ico- random ico-[A-Za-z0-9]{32}
prefect_key pnu_,pnb_ - pn[ub]_[A-Za-z0-9]{36}
scalingo_token tk-us- - tk-us-[\w-]{48}
fly_token fo1_,fm1,fm2_ - (?:fo1_[\w-]{43}|fm(?:1[ar]|2)_[A-Za-z0-9+/]{100,}={0,3})
harness_key pat.,sat. random [ps]at\.[\w-]{22}\.[A-Za-z0-9]{24}\.[A-Za-z0-9]{20}
octopus_key API- random API-[A-Z0-9]{25,32}
openshift_token sha256~ - sha256~[\w-]{43}
tailscale_key tskey- - tskey-[a-z]+-[\w-]{12,80}
planetscale_token pscale_ - pscale_(?:tkn|pw|oauth|app_secret)_[\w=.-]{32,64}
supabase_key sbp_,sb_secret_ - (?:sbp_(?:v0_|oauth_)?[0-9a-z]{40}|sb_secret_[\w-]{22,50})
neon_key napi_,npg_ random (?:napi_[a-z0-9]{60,70}|npg_[A-Za-z0-9]{12,40})
pinecone_key pcsk_ - pcsk_\w{40,80}
clickhouse_key 4b1d random 4b1d[A-Za-z0-9]{38}
render_key rnd_ random rnd_[A-Za-z0-9]{24,40}
vercel_token vc - vc[picrak]_[A-Za-z0-9]{24,60}
netlify_token nf - nf[pcoub]_[A-Za-z0-9]{36,40}
linear_key lin_ - lin_(?:api|oauth|wh)_[A-Za-z0-9]{32,64}
notion_token ntn_ - ntn_[A-Za-z0-9]{40,50}
notion_token secret_ random secret_[A-Za-z0-9]{43}
airtable_token pat - pat[A-Za-z0-9]{14}\.[0-9a-f]{62,66}
asana_token 1/,0/ - [012]/\d{10,20}(?:/\d{10,20})?:[0-9a-f]{32}
atlassian_token ATATT3,ATCTT3 - AT[AC]TT3[\w=-]{50,300}
bitbucket_token ATBB,BBDC- - (?:ATBB[A-Za-z0-9]{28,40}|BBDC-[\w-]{40,50})
clickup_token pk_ - pk_\d{6,9}_[A-Z0-9]{32}
figma_token figd_,figo - fig(?:d|o[a-z]?|u[a-z]?)_[\w-]{38,50}
shopify_token shp - shp(?:at|ss|ca|pa|tka|ua)_[0-9a-fA-F]{32}
dropbox_token sl. random sl\.(?:u\.)?[\w=-]{60,1400}
dropbox_token AAAAAAAAAA random [A-Za-z0-9]{11}AAAAAAAAAA[\w=-]{43}
facebook_token EAA random EAA[A-Za-z0-9]{40,800}
facebook_token | random \d{15,16}\|[\w-]{24,40}
instagram_token IGQ random IGQ[A-Z][\w=-]{80,1000}
twitter_bearer AAAAAAAAAAAAAAAAAA - A{18,24}[A-Za-z0-9%]{40,140}
hubspot_token pat- - pat-(?:na|eu|ap)\d-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}
intercom_token dG9rO - dG9rO[A-Za-z0-9+/]{50,80}={0,2}
salesforce_token 00D random 00D[A-Za-z0-9]{12,15}![\w.]{60,200}
zoho_token 1000. - 1000\.[0-9a-f]{32}\.[0-9a-f]{32}
postman_key PMAK-,PMAT- - (?:PMAK-[0-9a-f]{24}-[0-9a-f]{34}|PMAT-[0-9A-Z]{26})
sourcegraph_token sgp_,slk_ - (?:sgp_(?:(?:[0-9a-fA-F]{16}|local)_)?[0-9a-fA-F]{40}|slk_[0-9a-f]{64})
onepassword_token ops_eyJ - ops_eyJ[A-Za-z0-9+/_-]{60,}={0,3}
onepassword_key A3- - A3-[A-Z0-9]{6}-(?:[A-Z0-9]{11}|[A-Z0-9]{6}-[A-Z0-9]{5})(?:-[A-Z0-9]{5}){3}
age_key AGE-SECRET-KEY-1 - AGE-SECRET-KEY-1[0-9A-Z]{58}
huggingface_token hf_,api_org_ - (?:hf|api_org)_[A-Za-z0-9]{30,60}
replicate_token r8_ - r8_[A-Za-z0-9]{36,50}
groq_key gsk_ - gsk_[A-Za-z0-9]{40,60}
xai_key xai- random xai-\w{60,100}
perplexity_key pplx- - pplx-[A-Za-z0-9]{40,64}
nvidia_key nvapi- - nvapi-[\w-]{60,80}
langsmith_key lsv2_ - lsv2_(?:pt|sk)_[0-9a-f]{32}_[0-9a-f]{10}
tavily_key tvly- random tvly-[\w-]{30,50}
together_key tgp_v1_ - tgp_v1_[\w-]{40,50}
llama_cloud_key llx- random llx-[\w-]{40,60}
cerebras_key csk- random csk-[a-z0-9]{40,60}
fireworks_key fw_ random fw_[A-Za-z0-9]{20,40}
voyage_key pa- random pa-[\w-]{40,50}
elevenlabs_key sk_ - sk_[0-9a-f]{48}
firecrawl_key fc- - fc-[0-9a-f]{32}
wandb_key wandb_v1_ - wandb_v1_[\w-]{40,90}
e2b_key e2b_ - e2b_[0-9a-f]{40}
mapbox_token sk.eyJ,pk.eyJ,tk.eyJ - [spt]k\.eyJ[\w-]{40,250}\.[\w-]{20,30}
contentful_token CFPAT- - CFPAT-[\w-]{43,64}
buildkite_token bk - bk(?:ua|pt|aj|ct|pi|st)_[A-Za-z0-9]{32,64}
circleci_token CCIPAT_,CCIPRJ_ - CCIP(?:AT|RJ)_[A-Za-z0-9]{16,24}_[0-9a-f]{40}
sonarqube_token sq - sq[apu]_[0-9a-f]{40}
artifactory_token AKC,cmVmdGtu random (?:AKC[A-Za-z0-9]{60,80}|cmVmdGtu[A-Za-z0-9]{50,60})
typeform_token tfp_ - tfp_[\w.=-]{40,70}
readme_key rdme_ - rdme_[a-z0-9]{60,80}
frameio_token fio-u- - fio-u-[\w=-]{60,70}
wakatime_key waka_ - waka_[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}
launchdarkly_key sdk-,api-,mob- - (?:sdk|api|mob)-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}
posthog_key phx_,phs_,phr_,pha_ random ph[xsra]_[\w-]{40,60}
maxmind_key _mmk - [A-Za-z0-9]{6}_[A-Za-z0-9]{29}_mmk
adobe_secret p8e- - p8e-[\w-]{28,34}
adafruit_key aio_ - aio_[A-Za-z0-9]{28}
akamai_token akab- - akab-[0-9a-z]{16}-[0-9a-z]{16}
apify_token apify_api_ - apify_api_[A-Za-z0-9]{30,45}
telnyx_key KEY random KEY[0-9A-F]{6}[\w-]{40,60}
voiceflow_key VF. - VF\.(?:(?:DM|WS)\.)?[0-9a-f]{24}\.[A-Za-z0-9]{16}
teamwork_token tkn.v1_ - tkn\.v1_[A-Za-z0-9+/=]{60,80}
settlemint_token sm_ - sm_[aps]at_[A-Za-z0-9]{16}
intra42_secret s-s4t2 - s-s4t2(?:ud|af)-[0-9a-f]{64}
defined_key dnkey- - dnkey-[A-Z2-7]{26}-[A-Z2-7]{52}
authress_key _ random (?:sc|ext|scauth|authress)_[a-z0-9]{5,30}\.\w{4,6}\.acc[_-][a-z0-9-]{10,32}\.[\w+/=-]{30,120}
mongodb_secret mdb_sa_sk_ - mdb_sa_sk_[\w-]{30,60}
nightfall_key NF- random NF-[A-Za-z0-9]{32}
pagarme_key ak_live_,ak_test_ random ak_(?:live|test)_[A-Za-z0-9]{24,40}
dependencytrack_key odt_ random odt_[A-Za-z0-9]{32,40}
pubnub_secret sec-c- - sec-c-[\w-]{36,60}
scrapfly_key scp- - scp-(?:live|test)-[0-9a-f]{32}
ubidots_token BBFF- - BBFF-[A-Za-z0-9]{30}
inngest_key signkey- - signkey-(?:prod|test|branch)-[0-9a-f]{32,64}
trigger_key tr_dev_,tr_prod_,tr_stg_ random tr_(?:dev|prod|stg)_[A-Za-z0-9]{20,40}
zuplo_key zpka_ random zpka_\w{30,80}
nats_seed S - S[ACNOPUX][A-Z2-7]{56}
bip32_key prv - [xyztuv]prv[1-9A-HJ-NP-Za-km-z]{100,112}
paseto .local.,.public. - v[1-4]\.(?:local|public)\.[\w-]{40,}(?:\.[\w-]+)?
jwt eyJ - eyJ[\w-]{10,}={0,2}\.eyJ[\w-]{10,}={0,2}\.[\w-]{10,}(?:\.[\w-]+){0,2}={0,2}
jwt eyJ - eyJ[\w-]{16,}\.[\w-]{0,400}\.[\w-]{10,}\.[\w-]{16,}\.[\w-]{16,}
docker_auth eyJhdXRocyI6,ewogICJhdXRocyI6 - (?:eyJhdXRocyI6|ewogICJhdXRocyI6)[A-Za-z0-9+/]{20,}={0,2}
private_key LS0t pem LS0t[A-Za-z0-9+/]{40,}={0,2}
"""
# Hashes of passwords begin with a sign, so nothing is asked of what stands before them.
_HASHES = r"""
password_hash $apr1$ - \$apr1\$[./A-Za-z0-9]{1,8}\$[./A-Za-z0-9]{22}
password_hash $2 - \$2[abxy]\$\d\d\$[./A-Za-z0-9]{53}
password_hash $1$,$5$,$6$,$7$,$y$,$gy$ - \$(?:1|5|6|7|y|gy)\$[./A-Za-z0-9$=]{0,60}\$[./A-Za-z0-9]{22,90}
password_hash $krb5,$8$,$9$ - \$(?:krb5\w{2,8}\$[^\s"']{40,4000}|[89]\$[./A-Za-z0-9]{8,30}\$[./A-Za-z0-9]{20,90})
password_hash $argon2 - \$argon2(?:id|i|d)\$[\w=,$+/]{40,200}
password_hash pbkdf2_,scrypt - (?:pbkdf2_sha\d+|scrypt)(?:\$|:)[\w=,$:+/.]{40,250}={0,2}
pgpass : password ^[+-]?(?:[\w.*-]*[a-z*][\w.*-]*):(?:\d{2,5}|\*):[\w*-]{1,60}:[\w.-]{1,60}:(?S\S{4,100})$
password_hash {SSHA,{SHA,{SMD5 - \{(?:SSHA|SHA|SMD5)\d{0,3}\}[A-Za-z0-9+/]{20,100}={0,2}
"""
# Where a secret stands, whatever it looks like. Hints are lower-case here.
_PLACES = r"""
url_password :// literal \b[a-z][a-z0-9+.-]{1,30}://[^\s/:@"'`<>]{0,100}:(?S[^\s/"'`<>]{1,200})@(?=[\w\[$%{-])
url_password :// random https?://(?S[\w~.-]{20,100})@(?!(?:\w+\.)*(?:ingest\.)?(?:\w+\.)?sentry\.)[\w.-]+
authorization basic basic \bbasic\s{0,3}["'`]?\s{0,3}[+.,]?\s{0,3}["'`]?(?S[A-Za-z0-9+/]{8,500}={0,2})(?![\w+/=])
authorization bearer random \bbearer\s{0,3}["'`]?\s{0,3}[+.,]?\s{0,3}["'`]?(?S[\w+/=.~:-]{16,4000})
authorization authorization random authorization["'\]]{0,3}\s?[:=,]\s?["'`]?(?:\w{3,12}\s)?(?S[\w+/=.~:-]{16,})
aws_secret_key aws,secret random (?:aws|secret)\w{0,30}["']?\s{0,3}[=:]{1,2}>?\s{0,3}["']?(?S[\w/+]{40})(?![\w/+])
docker_auth auth basic ["']auth["']\s?:\s?["'](?S[A-Za-z0-9+/]{8,500}={0,2})["']
npm_auth _auth,_password base64 (?:^|[\s:])_(?:auth|password)\s?=\s?["']?(?S[A-Za-z0-9+/]{8,500}={0,2})
azure_key accountkey,sharedaccesskey - (?:AccountKey|SharedAccessKey)=(?S[A-Za-z0-9+/%]{20,120}={0,2})
azure_key secret= - ;Secret=(?S[A-Za-z0-9+/]{20,100}={0,2})
azure_sas sig= random [?&;"'\s]sig=(?S[A-Za-z0-9%+/=_-]{20,120})
secret -u,--user,--proxy-user password \s(?:-u|--user|--proxy-user)[ =]?["']?[^\s:"'$]{1,80}:(?S[^\s"']{3,200})
secret mysql,maria,mongo,sshpass,login,pass quoted \s-p\s?(?P<q>["'])(?S[^"'\n]{4,100})(?P=q)
secret mysql,maria,mongo,sshpass,login password \s-p\s?(?S[^\s"'/$-][^\s"']{4,100})(?=\s|$)
secret redis-cli,zip,7z password \s(?:-a|-P)\s?["']?(?S[^\s"'/$-][^\s"']{4,100})(?=["'\s]|$)
secret ssh-keygen password \s-N\s?["']?(?S[^\s"'/$-][^\s"']{4,100})
secret mysql,mongo password connect\w*\((?:\s?["'][^"'\n]{0,60}["'],){1,3}\s?["'](?S[^"'\n]{5,100})["']
secret hmac,cipher,jwt,aes random (?:hmac|cipher\w*|jwt\.\w+|aes\.new)\((?:[^\n,]{0,60}, ?)?b?["'](?S[^"'\n]{12,99})["']
secret pass: password -pass(?:in|out|word)?\s+["']?pass:(?S[^\s"']{4,100})
secret chpasswd password (?:echo|<<<|printf)\s+["']?[\w.-]{1,40}:(?S[^\s"'|]{4,100})
secret htpasswd password htpasswd\s+-[a-zA-Z]*b[a-zA-Z]*\s+\S{1,200}\s+[\w.@-]{1,40}\s+["']?(?S[^\s"']{4,100})
secret sudo password echo\s+["']?(?S[^\s"'|$]{4,100})["']?\s*\|\s*sudo\s+-S
secret identified password identified\s+(?:with\s+\S{1,40}\s+)?by\s+(?:password\s+)?["'](?S[^"'\n]{4,99})["']
secret securestring quoted securestring\s+(?:-\w+\s+){0,3}(?P<q>["'])(?S[^"'\n]{4,200})(?P=q)
secret machine,login literal (?:^|\bmachine\s+\S{1,100}\s+)login\s+\S{1,100}\s+password\s+(?S\S{4,200})
secret requirepass,masterauth literal ^[ +-]?(?:requirepass|masterauth)\s+["']?(?S[^\s"']{4,200})
wordpress_salt define salt define\(\s?["']\w{0,30}(?:key|salt)["'],\s{0,9}(?P<q>["'])(?S[^\n]{32,99}?)(?P=q)\s?\)
secret private_key_id - private_key_id\W{1,8}(?S[0-9a-f]{40})(?![0-9a-z])
seed_phrase mnemonic,seed - (?:mnemonic|seed)\w{0,20}["']?\s?[:=]\s?["'`]?(?S(?:[a-z]{3,8} ){11,23}[a-z]{3,8})(?![\w ])
"""

_BEFORE, _AFTER = r"(?:(?<![A-Za-z0-9])|(?<=\\[nrtbf])|(?<=%[0-9A-F]{2}))", r"(?![A-Za-z0-9])"


def _rules(table: str, flags: int, before: str = "", after: str = "") -> tuple[Rule, ...]:
    rows = (line.split(" ", 3) for line in table.strip().splitlines())
    return tuple(
        Rule(kind, tuple(hints.split(",")), check, f"{before}(?:{pattern}){after}".replace("(?S", "(?P<secret>"), flags)
        for kind, hints, check, pattern in rows
    )


TOKENS = _rules(_TOKENS, re.ASCII, _BEFORE, _AFTER) + _rules(_HASHES, re.ASCII | re.MULTILINE)
PLACES = _rules(_PLACES, re.ASCII | re.IGNORECASE | re.MULTILINE)
