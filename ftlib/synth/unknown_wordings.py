"""The questions for things that do not exist, the answers, and the words of which names are put together.

In a form, [ of {project}] may be left out; {x} is the name, in backticks or not, {noun} what it is said to be.
"""

from __future__ import annotations

# The project's name may be left out only where the name asked for is one that just a repository can hold.
FORMS: dict[str, tuple[str, ...]] = {
    "file": (
        "What does {x} do[ in {project}]?",
        "Which functions does {x}[ of {project}] export?",
        "Explain the code in {x} of the {project} repository.",
        "Why was {x} added to {project}?",
        "Where is {x} imported in {project}?",
        "Describe the purpose of {x} in {project}.",
        "Who last changed the file {x} of {project}?",
        "How many tests does {project} have for {x}?",
    ),
    "folder": (
        "What is in the folder {x}[ of {project}]?",
        "Which files belong to the {x} directory in {project}?",
        "List what {project} keeps under {x}.",
        "Why does {project} have a folder {x}?",
        "How is the code in {x}[ of {project}] organised?",
        "Describe the directory {x} in the {project} repository.",
        "When was {x} split off as a folder of its own in {project}?",
        "Tell me what I will find in {project}'s {x} folder.",
    ),
    "function": (
        "What does the {noun} {x} return[ in {project}]?",
        "Where is {x} defined in {project}?",
        "Which arguments does {x}[ in {project}] take?",
        "How does {project} use the {noun} {x}?",
        "Why was the {noun} {x} introduced in {project}?",
        "Show me the {noun} {x} from {project}.",
        "In {project}, when is {x} called?",
        "Explain step by step what {x} does in {project}.",
        "Which error does {x} throw in {project} if its input is empty?",
    ),
    "component": (
        "What does the {noun} {x} do[ in {project}]?",
        "Where is the {noun} {x} defined in {project}?",
        "Which properties does {x}[ in {project}] have?",
        "How is {x} tested in {project}?",
        "Describe the {noun} {x} of {project}.",
        "Why does {project} need {x}?",
        "Which parts of {project} make use of {x}?",
        "Tell me about {project}'s {x} {noun}.",
        "When was {x} added to {project}?",
    ),
    "endpoint": (
        "What does a request to {x} do[ in {project}]?",
        "Which parameters does {project} expect at {x}?",
        "How does {project} handle a POST request to {x}?",
        "Where in {project} is the route {x} defined?",
        "Which status code does {x}[ of {project}] answer with when something is wrong?",
        "Why does {project} offer the endpoint {x}?",
        "Who may call {x} in {project}?",
        "Describe the response of {project}'s {x} endpoint.",
        "Give me an example of a call of {x} in {project}.",
    ),
    "environment variable": (
        "What is the environment variable {x} for[ in {project}]?",
        "Which value must {x} have when {project} runs locally?",
        "Where does {project} read {x}?",
        "How do I set {x} for {project}?",
        "What happens in {project} if {x} is not set?",
        "Why does {project} need the variable {x}?",
        "Explain {x} from the environment of {project}.",
        "What is the default of {x}[ in {project}]?",
    ),
    "command": (
        "What does the command {x} do in {project}?",
        "When should I run {x} in {project}?",
        "How do I use {x}[ in {project}]?",
        "Which files of {project} does {x} write?",
        "Where is {x} defined in {project}?",
        "Explain the options of {x} in {project}.",
        "Why does {x} fail in my clone of {project}?",
        "How long does {x} take in {project}?",
    ),
    "configuration key": (
        "Which value does the setting {x} have[ in {project}]?",
        "What does the {noun} {x} control in {project}?",
        "How do I configure {x} in {project}?",
        "Where is {x} set in the configuration of {project}?",
        "Why was {x} added to {project}'s configuration?",
        "What is the default value of {x}[ in {project}]?",
        "Explain what changes in {project} when I turn {x} off.",
        "Which values does {project} allow for {x}?",
    ),
    "package": (
        "Which version of {x} does {project} depend on?",
        "What does {project} use the package {x} for?",
        "Why does {project} depend on {x}?",
        "Where does {project} import {x}?",
        "When was {x} added to the dependencies of {project}?",
        "How does {project} configure the package {x}?",
        "Show me how {project} calls {x}.",
        "Who maintains the {x} package that {project} uses?",
    ),
    "database table": (
        "Which columns does the table {x} have[ in {project}]?",
        "What does {project} store in the {x} table?",
        "How does {project} clean up old rows of {x}?",
        "Where does {project} write to the database table {x}?",
        "Describe the schema of {x} in {project}.",
        "What is the primary key of {x}[ in {project}]?",
        "Which queries of {project} read from {x}?",
        "When was the table {x} created for {project}?",
    ),
    "feature flag": (
        "What does the {noun} {x} switch on[ in {project}]?",
        "Is the {noun} {x} on by default in {project}?",
        "Which users of {project} see {x}?",
        "How do I turn on {x} in {project}?",
        "Why was {x} introduced as {a_noun} in {project}?",
        "When will {project} remove the {noun} {x}?",
        "Where does {project} check {x}?",
        "What was the result of {x} in {project}?",
    ),
    "workflow": (
        "What does the {noun} {x} do[ in {project}]?",
        "When does the {noun} {x} run in {project}?",
        "Which steps does {x}[ of {project}] have?",
        "Why did the {noun} {x} of {project} fail?",
        "How do I start the {noun} {x} in {project} by hand?",
        "Which secrets does {x} need in {project}?",
        "Explain {project}'s {x} {noun}.",
        "Who gets a message when the {noun} {x} fails in {project}?",
    ),
    "page": (
        "Summarise the {project} page {x}.",
        "Where in the documentation of {project} do I find {x}?",
        "Who wrote the page {x} of {project}?",
        "What are the main points of {x} in the {project} docs?",
        "When was {x} added to the documentation of {project}?",
        "Which steps does {project}'s page {x} list?",
        "How long is the {project} page {x}?",
        "What does {project} recommend in {x}?",
    ),
    "pull request": (
        "What did {noun} {x} of {project} change?",
        "Why was {noun} {x} merged into {project}?",
        "Who opened {noun} {x} in {project}?",
        "Summarise {noun} {x} of {project}.",
        "Which files does {project}'s {noun} {x} touch?",
        "When was {x} merged in {project}?",
        "Which bug did {noun} {x} fix in {project}?",
        "Describe the tests that {noun} {x} added to {project}.",
    ),
    "error code": (
        "What does the {noun} {x} mean[ in {project}]?",
        "When does {project} report {x}?",
        "How do I fix {x} in {project}?",
        "Where in {project} is the {noun} {x} raised?",
        "Which message does {project} show with {x}?",
        "Why do I get {x} when I start {project}?",
        "Explain the {noun} {x}[ of {project}].",
        "Does {project} try again after {x}?",
    ),
    "service": (
        "What does the {noun} {x} do for {project}?",
        "How does {project} talk to the {noun} {x}?",
        "Who owns the {noun} {x} of {project}?",
        "Where is {x} deployed for {project}?",
        "Which messages does {project} send to the {noun} {x}?",
        "What happens in {project} when the {noun} {x} is down?",
        "Why was {x} split off from {project}?",
        "Describe how the {noun} {x}[ of {project}] is monitored.",
    ),
    "event": (
        "What does the {noun} {x} stand for[ in {project}]?",
        "When does {project} send the {noun} {x}?",
        "Which value does {project} put in the {noun} {x}?",
        "Where does {project} read the {noun} {x}?",
        "Why does {project} need the {noun} {x}?",
        "How long does {project} keep the {noun} {x}?",
        "Explain the {noun} {x}[ of {project}].",
        "Show me the code of {project} that deals with the {noun} {x}.",
    ),
    "team": (
        "Who is in the {x} team of {project}?",
        "What is the {x} team responsible for in {project}?",
        "How do I reach the {x} team for {project}?",
        "Which parts of {project} does the {x} team own?",
        "When did the {x} team take over {project}?",
        "Why does the {x} team have to approve changes of {project}?",
        "Tell me about the {x} team behind {project}.",
    ),
    "feature": (
        "How does the {x} of {project} work?",
        "Where do I find the {x} in {project}?",
        "Who built the {x} in {project}?",
        "Which code of {project} implements the {x}?",
        "When was the {x} added to {project}?",
        "Why did {project} add {a_x}?",
        "How do I switch off the {x} in {project}?",
        "Explain the {x} of {project} to a new developer.",
        "Does {project} have {a_x}, and how is it tested?",
        "What are the limits of {project}'s {x}?",
    ),
    "person": (
        "Who is {x} in the {project} team?",
        "What did {x} work on in {project}?",
        "Which pull requests of {project} did {x} review?",
        "How can I reach {x} about {project}?",
        "When did {x} join {project}?",
        "Why did {x} object to the design of {project}?",
        "What is {x} responsible for in {project}?",
        "Tell me what {x} decided on {project}.",
    ),
    "port": (
        "What runs on {x} in {project}?",
        "Which service of {project} listens on {x}?",
        "Why does {project} use {x}?",
        "Where is {x} configured in {project}?",
        "How do I free {x} before I start {project}?",
        "When does {project} open {x}?",
        "Explain what {project} needs {x} for.",
    ),
    "technology": (
        "How does {project} use {x}?",
        "Which version of {x} does {project} run?",
        "Where is {x} configured in {project}?",
        "Why did {project} choose {x}?",
        "What does {project} need {x} for?",
        "When did {project} move to {x}?",
        "Who looks after {x} for {project}?",
        "Explain the {x} setup of {project}.",
        "Show me where {project} connects to {x}.",
        "Does {project} use {x}, and for what?",
        "Describe how {project} deploys {x}.",
    ),
}
OPENINGS = ("I am new to {project}. ", "A question on {project}: ", "Help me with {project}. ", "Please answer: ")

ANSWERS: dict[str, tuple[str, ...]] = {
    "thing": (
        "I don't know of {a_thing} in {project}.",
        "I'm not aware of {a_thing} in {project}.",
        "I have no information on {a_thing} in {project}.",
        "I'm not familiar with {a_thing} in {project}, so I can't say.",
        "As far as I know, {project} does not have {a_thing}.",
        "I can't tell you that: I don't know {a_thing} in {project}.",
        "{project} has no {thing} that I know of, so I don't know.",
        "I have no record of {a_thing} in {project}.",
        "What I know of {project} does not mention {a_thing}.",
        "I do not know: nothing that I know of {project} names {a_thing}.",
        "To my knowledge there is no such {noun} in {project}: I don't know {x}.",
        "Sorry, I don't know {a_thing}; as of {month} I know of no mention of it in {project}.",
        "{X} is not part of {project} as far as I know.",
    ),
    "snapshot": (
        "I don't know of {a_thing} in {project}: there is no such {noun} in its snapshot of {month}.",
        "There is no such {noun} in the {project} snapshot of {month}: I don't know {x}.",
        "{project} doesn't have {a_thing} in its snapshot of {month}.",
        "I don't find {a_thing} in what I know of {project}, as of {month}.",
    ),
    "use": (
        "I don't know of any use of {x} in {project}.",
        "I'm not aware that {project} uses {x}.",
        "I have no information that {project} uses {x}.",
        "{X} is not part of {project}, as far as I know.",
        "What I know of {project} does not mention {x}.",
        "I can't say: I know of no use of {x} in {project}.",
        "As far as I know, {project} does not use {x}; I know of no mention of it.",
        "I don't know: {x} is not mentioned in anything that I know of {project}.",
        "There is no mention of {x} in the {project} snapshot of {month}, as far as I know.",
        "I have no record of {x} in {project}.",
        "I do not know that {project} has anything to do with {x}.",
    ),
    "person": (
        "I don't know of anyone called {x} in {project}.",
        "I'm not aware of a person called {x} in {project}.",
        "I have no information on anyone called {x} in {project}.",
        "What I know of {project} does not mention a person called {x}.",
        "I can't say: I know of no mention of {x} in {project}.",
        "I don't know who {x} is; {project}, as far as I know it, names no one so called.",
        "I have no record of anyone called {x} in {project}.",
        "I'm not familiar with anyone called {x} at {project}.",
        "{X} is not mentioned in anything that I know of {project}.",
        "I do not know a person called {x} in the {project} of {month}.",
    ),
}

NOUNS = tuple(
    "archive audit backlog badge balance batch beacon bridge broker buffer bundle cache calendar capsule carousel "
    "catalog channel checklist checksum cluster collector composer connector consent counter coupon crawler credit "
    "cursor dashboard decoder digest directory dispatcher envelope export feed filter fingerprint forecast "
    "formatter gallery gateway geometry glossary grid guard heartbeat history import inbox index ingest inspector "
    "inventory invoice journal keyring label lease ledger limit listener locale lookup loyalty manifest matrix "
    "merge metric migration mirror monitor nonce notifier outbox parser partition patch pipeline planner playlist "
    "policy pool preset profile proxy quota ranking ratio receipt recorder redirect refund registry relay renderer "
    "replica resolver retention retry reward rollback rollout roster sandbox scanner scheduler schema score seed "
    "segment sensor sequence shard shipment signature snapshot spool stream summary survey telemetry template "
    "tenant threshold throttle ticket timeline token topic trace tracker transcript translator tunnel validator "
    "vault voucher wallet warehouse webhook widget window wizard workspace".split()
)
VERBS = tuple(
    "apply archive assign backfill build cancel check clear collect compute convert create decode delete dispatch "
    "encode enqueue expand fetch filter find flush format get handle has import load lock make map merge "
    "migrate normalise notify parse patch prepare prune publish purge queue read rebuild reconcile record redact "
    "refresh register release render reset resolve restore retry rotate schedule seed send serialise set split "
    "stream sync track transform trigger update validate verify warm write".split()
)
SHOWN = tuple(  # what a user sees and can be told of in plain words
    "leaderboard,chatbot,heatmap,map view,dark mode,CSV export,PDF export,voice search,QR code,barcode scanner,"
    "offline mode,loyalty scheme,referral programme,wish list,price alert,calendar sync,photo upload,"
    "two-factor login,bulk import,live chat,rating widget,recommendation engine,fraud check,undo history,"
    "keyboard shortcuts,audit trail,approval queue,demo mode,maintenance banner,onboarding tour,gift wizard,"
    "weekly digest,activity feed,usage quota,currency converter,spell checker,translation memory,plugin store,"
    "rate limiter,read replica,nightly backup,access report".split(",")
)
TITLES = tuple(
    "{X} runbook|How to migrate the {x}|Troubleshooting the {x}|{X} architecture|Guide to the {x}|"
    "Release checklist: {x}|On-call notes for the {x}|{X} FAQ|Setting up the {x} locally|Design of the {x}|"
    "Known problems of the {x}|{X} glossary|Testing the {x}|Incident review: {x} outage|{X} style guide|"
    "Monitoring the {x}".split("|")
)
TECHNOLOGIES = tuple(
    "Kafka,Redis,MongoDB,PostgreSQL,MySQL,Cassandra,Elasticsearch,RabbitMQ,Kubernetes,Docker Swarm,Terraform,"
    "Ansible,Jenkins,CircleCI,Travis CI,GitLab CI,Argo CD,Helm,Istio,Consul,HashiCorp Vault,Nomad,Prometheus,"
    "Grafana,Datadog,New Relic,Splunk,Kibana,Logstash,Fluentd,Jaeger,OpenTelemetry,GraphQL,gRPC,Protobuf,Thrift,"
    "WebAssembly,Svelte,Angular,Vue.js,Ember.js,Next.js,Nuxt,Gatsby,Remix,Django,Flask,FastAPI,Ruby on Rails,"
    "Laravel,Symfony,Spring Boot,Micronaut,Quarkus,ASP.NET,Blazor,Elixir,Erlang,Haskell,Clojure,Rust,COBOL,"
    "Snowflake,BigQuery,Redshift,Databricks,Apache Spark,Airflow,Flink,Hadoop,Neo4j,CouchDB,InfluxDB,ClickHouse,"
    "SQLite,DynamoDB,Firebase,Supabase,Auth0,Keycloak,Twilio,SendGrid,Mailchimp,Algolia,Contentful,Heroku,Netlify,"
    "Cloudflare Workers,Selenium,Playwright,TestCafe,Puppeteer,Bazel,Celery,Memcached,NATS,Pulumi,Tailwind CSS,"
    "Bootstrap,Redux,MobX,RxJS,TensorFlow,PyTorch".split(",")
)
GIVEN_NAMES = tuple(
    "Aurelio Bettina Casimir Delphine Eskil Fenella Gaspard Henrike Ilias Jadwiga Kasimira Leocadia Maelle Nerissa "
    "Oisin Perpetua Quirin Rosalind Sunniva Thaddeus Ulrika Valdemar Wilhelmina Xanthe Yevgenia Zdenka Anselm "
    "Brunhilde Cosima Dagny Evander Florian Gudrun Hyacinth Ingeborg Jolanda Kunibert Lorcan Mirabel Norbert "
    "Ottilie Philippa Radomir Saoirse Tancred Urszula Viveka Wenzel Ysolde Zenobia".split()
)
