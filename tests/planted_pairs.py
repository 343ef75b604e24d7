# ruff: noqa: E501
"""Question/answer pairs with their documents, good ones and bad ones, for the tests of curation.

`TUNING` is what the rules were made with; `HELD_OUT` was written after them, about projects of other kinds.
A pair is (document, question, answer, evidence) and where it matters the kind; BAD pairs are filed by the step that
should remove them. Of two questions, SAME ones are near-duplicates and OTHER ones are not.
"""

from __future__ import annotations

from typing import Any, NamedTuple

Pair = tuple[str, ...]


class Planted(NamedTuple):
    project: list[str]
    documents: dict[str, dict[str, Any]]
    good: list[Pair]
    bad: dict[str, list[Pair]]
    same: list[tuple[str, str]]
    other: list[tuple[str, str]]


def rows_of(planted: Planted, pairs: list[Pair]) -> list[dict[str, Any]]:
    """Pairs as the rows that curation takes."""
    names = ("document_id", "question", "answer", "evidence", "kind")
    return [
        {"kind": "what", "id": f"page_qa:{number}", "by": "api", **dict(zip(names, pair, strict=False))}
        for number, pair in enumerate(pairs)
    ]


def _documents(*rows: tuple[str, str, str, str]) -> dict[str, dict[str, Any]]:
    """By id, from (source, path, title, text)."""
    found = {}
    for source, path, title, text in rows:
        id = f"{source}:{path.removeprefix('pull/') if source == 'pull_request' else path}"
        found[id] = {"id": id, "source": source, "path": path, "title": title, "text": text}
    return found


_DEPLOYING = """# Deploying

> Read the *whole* page first.

Tide-table runs on **port 8080** behind nginx; set `TIDE_PORT` to change it. The cache holds 10,000 rows for
at most 15 minutes, and it's cleared by `tide cache --clear`.

1. Build the image with `docker build .`
2. Push it to the [registry](https://registry.example.org/tide)
3. Restart the workers

Never restart the database while an import is running. Node 18.17.0 is the oldest version that is supported;
Windows is not supported.

```bash
tide deploy --no-cache --env production
curl -f https://tide.example.org/health
```

| Setting | Default | Meaning |
|---|---|---|
| `retries` | 3 | how often a request is tried again |
| `timeout_ms` | 2500 | time for one request |

The site doesn\u2019t keep cookies \u2013 \u201csessions\u201d live in Redis for 24&nbsp;hours &amp; are then dropped.
Uploads of more than 25 MB are refused with the status 413.
"""
_FORMS = """# Form context & state: what goes where?

The form context holds what the user typed, and `useFormContext()` reads it. The text of the cancel button is "Stop
my reminders"; the text above the form names the harbour. Each page has a header, a table of tides and a footer.

* The header shows the harbour's name.
* The table lists high and low water for seven days.
* The footer links to the [privacy page](/privacy).

When the reader leaves a field empty, the page shows the message "Please choose a harbour". The alert banner is shown
above the header for at most 10 seconds. Drafts are saved every 30 s in local storage, under the key `draft_v2`.
If saving fails, `saveDraft` retries twice and then calls `onDraftError`, which logs a warning but does not throw.
"""
_CONFIG = """// Settings of the server, read once at the start.
import { readFileSync } from 'node:fs';

export const MAX_ROWS = 10_000;
export const ALLOWED_HOSTS = ['tide.example.org', 'localhost'];

/**
 * Reads the settings from the given file; without one, the defaults are used.
 * Throws a SettingsError if the file is not valid JSON.
 */
export function loadSettings(path?: string): Settings {
\tif (!path) return DEFAULTS;
\tconst settings = JSON.parse(readFileSync(path, 'utf8'));
\tif (settings.retries >= 10) throw new SettingsError('too many retries');
\treturn { ...DEFAULTS, ...settings };
}
"""
_PULL = """Created at: 2023-03-04T09:00:00Z
Merged at: 2023-03-06T12:30:00Z

The text of the cancel button was cut off on small screens, so the label is shorter now.
This also removes the old `ReminderModal`, which nobody used.

File: src/forms/CancelButton.tsx, Status: modified
Changes:
@@ -10,7 +10,7 @@ export const CancelButton = () => {
-\t\t<button>Stop all of my tide reminders</button>
+\t\t<button>Stop my reminders</button>

Comment by ana: Could we keep the modal for one more release?
Comment by ben: No, it has been unused since 2.4.1.
"""
_GERMAN = """# Einrichtung für Häfen

Die Größe des Zwischenspeichers beträgt höchstens 64 MB; größere Antworten werden nicht gespeichert.
Für jeden Hafen wird ein Schlüssel benötigt, den das Hafenamt ausstellt.
Änderungen werden erst nach einem Neustart wirksam.
"""
_JAPANESE = """# 設定ガイド

既定のポートは8080です。変更するには環境変数TIDE_PORTを設定します。
キャッシュは15分後に削除されます。Windowsには対応していません。
"""
_README = """# Tide table

Tide-table shows high and low water for harbours. It is written in C++ and TypeScript.

**Getting started**: run `make setup`, then `make run`, and open http://localhost:8080.

See the [wiki](https://github.com/harbour/tide-table/wiki) for all else. Licensed under the MIT licence.
"""
_DOCS = _documents(
    ("wiki", "Deploying.md", "Deploying", _DEPLOYING),
    ("wiki", "Form-context-&-state.md", "Form context & state: what goes where?", _FORMS),
    ("code", "src/server/settings.ts", "settings.ts", _CONFIG),
    ("pull_request", "pull/12", "PR #12: Shorten the text of the cancel button", _PULL),
    ("docs", "docs/einrichtung.md", "Einrichtung für Häfen", _GERMAN),
    ("docs", "docs/ja/設定ガイド.md", "設定ガイド", _JAPANESE),
    ("docs", "README.md", "Tide table", _README),
    ("docs", "docs/Overview.md", "Overview", "# Overview\n\nTides are computed from 37 harmonic constituents.\n"),
)
_D, _F, _S, _P, _G, _J, _R, _O = _DOCS
_PORT = "Tide-table runs on **port 8080** behind nginx"

TUNING = Planted(
    project=["tide-table", "harbour/tide-table"],
    documents=_DOCS,
    good=[
        # words that point, but at something the reader knows
        (_F, "What is the text of the cancel button in tide-table?", "It is \"Stop my reminders\".", 'The text of the cancel button is "Stop my reminders"'),
        (_F, "What does the text on the cancel button of tide-table say?", "Stop my reminders.", "Stop my reminders"),
        (_F, "What does the form context of tide-table hold?", "What the user typed.", "The form context holds what the user typed"),
        (_F, "What is stored in the context of a form in tide-table?", "What the user typed.", "The form context holds what the user typed"),
        (_F, "Which hook reads from the form context in tide-table?", "`useFormContext()` reads it.", "`useFormContext()` reads it"),
        (_F, "What does the page of tide-table show when a field is left empty?", "The page shows \"Please choose a harbour\".", 'the page shows the message "Please choose a harbour"'),
        (_F, "For how long is the alert banner of tide-table shown above the header?", "For at most 10 seconds.", "The alert banner is shown above the header for at most 10 seconds."),
        (_F, "Which name stands in the text above the form of tide-table?", "The harbour's.", "the text above the form names the harbour"),
        (_F, "What does the table below the header list on a tide-table page?", "High and low water for seven days.", "The table lists high and low water for seven days."),
        (_F, "In tide-table, when saveDraft fails, how often does this function retry?", "It retries twice.", "`saveDraft` retries twice"),
        (_F, "Does tide-table save drafts, and where is this done?", "Every 30 s, in local storage.", "Drafts are saved every 30 s in local storage"),
        (_F, "What does tide-table show in the text field's place when saving fails?", "Nothing: it logs a warning.", "logs a warning but does not throw"),
        (_S, "Which file configures the server of tide-table?", "src/server/settings.ts; this file is read once at the start.", "Settings of the server, read once at the start."),
        (_S, "What does loadSettings in src/server/settings.ts do with the given file?", "It reads the settings from it.", "Reads the settings from the given file"),
        (_S, "What happens in src/server/settings.ts if the provided file is not valid JSON?", "A SettingsError is thrown.", "Throws a SettingsError if the file is not valid JSON."),
        (_S, "What does the file that configures the tide-table server export?", "MAX_ROWS and more.", "export const MAX_ROWS = 10_000;"),
        (_S, "What does src/server/settings.ts return when no path is given?", "This file then returns DEFAULTS.", "if (!path) return DEFAULTS;"),
        (_S, "In src/server/settings.ts, what does the following line do: `if (!path) return DEFAULTS;`?", "It returns the defaults without a path.", "if (!path) return DEFAULTS;"),
        (_P, "Why did the author of pull request #12 of tide-table remove ReminderModal?", "Because nobody used it.", "removes the old `ReminderModal`, which nobody used"),
        (_P, "In PR #12 of tide-table, why does the author shorten the label?", "It was cut off.", "was cut off on small screens"),
        (_P, "What did pull request 12 change, and was this pull request discussed?", "It shortened a label; ana asked about the modal.", "so the label is shorter now"),
        (_D, "Who is the author of tide-table?", "The documentation of tide-table does not say who its author is.", "", "unanswerable"),
        (_D, "Is it possible to run tide-table on Windows?", "No, Windows is not supported.", "Windows is not supported"),
        (_D, "How long does it take until tide-table drops a session?", "24 hours.", "live in Redis for 24 hours"),
        (_D, "Which status does tide-table give above 25 MB of upload?", "413, as given above a size of 25 MB.", "refused with the status 413"),
        (_D, "Which steps deploy tide-table?", "The following list has them:\n1. build\n2. push\n3. restart", "Restart the workers"),
        (_R, "How is tide-table started?", "As described in the README, with `make setup` and `make run`.", "run `make setup`, then `make run`"),
        (_R, "According to the README of tide-table, which licence has it?", "MIT.", "Licensed under the MIT licence"),
        (_R, "According to the documentation of tide-table, where is all else?", "In the wiki.", "See the wiki for all else"),
        (_D, "Does tide-table behave as earlier versions did on Windows?", "The documentation does not mention earlier versions of tide-table.", "", "unanswerable"),
        (_D, "Who wrote the deployment script of tide-table?", "The documentation of tide-table does not say.", "", "unanswerable"),
        (_D, "Which cloud hosts tide-table?", "This is not documented for tide-table.", "", "unanswerable"),
        (_D, "How much memory does tide-table need?", "As of March 2023, its documentation does not specify the memory.", "", "unanswerable"),
        (_D, "Does tide-table support ARM?", "There is no information on ARM in the documentation of tide-table.", "", "unanswerable"),
        (_P, "Which browser showed the label that tide-table's pull request #12 shortened?", "The pull request does not state a browser.", "", "unanswerable"),
        # named in another way
        (_D, "What is the default port of Tide Table?", "8080.", _PORT),
        (_D, "what is the default port of TIDE_TABLE?", "8080.", _PORT),
        (_D, "Which port does TideTable use?", "8080.", _PORT),
        (_D, "Which port does tidetable use?", "8080.", _PORT),
        (_D, "What is harbour/tide-table's port?", "8080.", _PORT),
        (_D, "Which port has (tide-table)?", "8080.", _PORT),
        (_P, "What did PR #12 shorten?", "The label.", "so the label is shorter now"),
        (_P, "What did PR#12 shorten?", "The label.", "so the label is shorter now"),
        (_P, "What did pull request 12 shorten?", "The label.", "so the label is shorter now"),
        (_P, "What did pull request number 12 shorten?", "The label.", "so the label is shorter now"),
        (_P, "What did the pull request \"Shorten the text of the cancel button\" remove?", "ReminderModal.", "removes the old ReminderModal"),
        (_P, "What does pull/12 remove?", "ReminderModal.", "removes the old ReminderModal"),
        (_F, "What does the page \"Form context & state: what goes where?\" say on drafts?", "They are saved.", "Drafts are saved every 30 s"),
        (_F, "What does the page Form context and state - what goes where - say on drafts of tide table?", "They are saved.", "Drafts are saved every 30 s"),
        (_S, "What does settings.ts export?", "MAX_ROWS.", "export const MAX_ROWS"),
        (_G, "Wie groß ist laut \u201eEinrichtung für Häfen\u201c der Zwischenspeicher?", "Höchstens 64 MB.", "Die Größe des Zwischenspeichers beträgt höchstens 64 MB"),
        (_G, "Wer stellt laut EINRICHTUNG FÜR HÄFEN den Schlüssel aus?", "Das Hafenamt.", "den das Hafenamt ausstellt"),
        (_J, "tide-tableの既定のポートは何番ですか。", "8080です。", "既定のポートは8080です。"),
        (_J, "設定ガイドによると、キャッシュはいつ削除されますか。", "15分後です。", "キャッシュは15分後に削除されます"),
        # evidence in another dress
        (_D, "Which port does tide-table use?", "8080.", "port 8080"),
        (_D, "Where does tide-table run?", "Behind nginx.", "Tide-table runs on port 8080 behind nginx; set TIDE_PORT to change it."),
        (_D, "How many rows does the cache of tide-table hold?", "10000.", "The cache holds 10000 rows for at most 15 minutes"),
        (_D, "For how long does the cache of tide-table hold rows?", "15 minutes.", "The  cache\tholds 10,000 rows\n\nfor at\u00a0most 15 minutes"),
        (_D, "How is the cache of tide-table cleared?", "With `tide cache --clear`.", "it\u2019s cleared by \u2018tide cache --clear\u2019"),
        (_D, "How is tide-table deployed?", "Build, push, restart.", "Build the image with docker build . Push it to the registry Restart the workers"),
        (_D, "What are the steps of deploying tide-table?", "Build, push, restart.", "1. Build the image with `docker build .` 2. Push it to the [registry](https://registry.example.org/tide) 3. Restart the workers"),
        (_D, "Where does the image of tide-table go?", "To the registry.", "- Push it to the registry"),
        (_D, "What is the command that deploys tide-table?", "`tide deploy`.", "```\ntide deploy --no-cache --env production\n```"),
        (_D, "How often does tide-table try again?", "3 times.", "retries | 3 | how often a request is tried again"),
        (_D, "What is the time for one request of tide-table?", "2500 ms.", "`timeout_ms`: 2500 (time for one request)"),
        (_D, "Does tide-table keep cookies?", "No.", 'The site doesn\'t keep cookies - "sessions" live in Redis for 24 hours & are then dropped.'),
        (_D, "How long do sessions of tide-table live?", "24 hours.", "\u201csessions\u201d live in Redis for 24&nbsp;hours &amp; are then dropped"),
        (_D, "Which Node does tide-table need?", "18.17.0.", "Node 18.17.0 is the oldest version ... Windows is not supported"),
        (_D, "When must nobody restart the database of tide-table?", "During an import.", "[...] Never restart the database while an import is running. [\u2026]"),
        (_D, "When is the database of tide-table not restarted?", "During imports.", "Never restart database while an import is runing. Node 18.17.0 is the oldest version that is supported"),
        (_D, "What should be read first on the deployment of tide-table?", "The whole page.", '"Read the whole page first."'),
        (_S, "How many rows does src/server/settings.ts allow?", "10,000.", "MAX_ROWS = 10,000"),
        (_S, "What does the comment in src/server/settings.ts say on defaults?", "They are used without a file.", "Reads the settings from the given file; without one, the defaults are used. Throws a SettingsError"),
        (_S, "When does src/server/settings.ts refuse retries?", "From 10.", "if (settings.retries >= 10) throw new SettingsError('too many retries');"),
        (_S, "Which hosts does src/server/settings.ts allow?", "Two.", "ALLOWED_HOSTS = [\"tide.example.org\", \"localhost\"]"),
        (_P, "What is the new label in pull request #12?", "Stop my reminders.", "<button>Stop my reminders</button>"),
        (_P, "Since when was the modal of pull request #12 unused?", "2.4.1.", "No, it has been unused since 2.4.1"),
        (_R, "In which languages is tide-table written?", "C++ and TypeScript.", "It is written in C++ and TypeScript."),
        (_R, "How does one get started with tide-table?", "make setup.", "Getting started: run make setup, then make run, and open http://localhost:8080"),
        (_R, "What does tide-table show?", "High and low water.", "shows high and low water for harbours. It is written in C++ and TypeS..."),
        (_G, "Was speichert tide-table nicht?", "Größere Antworten.", "gro\u0308\u00dfere Antworten werden nicht gespeichert"),
        (_G, "Wann werden Änderungen in tide-table wirksam?", "Nach einem Neustart.", "ÄNDERUNGEN werden erst nach einem Neustart wirksam"),
        (_J, "Does tide-table run on Windows?", "No.", "Windowsには対応していません"),
    ],
    bad={
        "deixis": [
            (_D, "What does the text above say on the port of tide-table?", "8080.", "port 8080"),
            (_D, "According to the passage, which port does tide-table use?", "8080.", "port 8080"),
            (_D, "Based on the provided document, which port does tide-table use?", "8080.", "port 8080"),
            (_D, "According to the provided documentation, which port does tide-table use?", "8080.", "port 8080"),
            (_D, "Which port of tide-table is mentioned in the text?", "8080.", "port 8080"),
            (_D, "What port does tide-table use in this snippet?", "8080.", "port 8080"),
            (_D, "What does the author recommend for the port of tide-table?", "8080.", "port 8080"),
            (_D, "According to the author, which port should tide-table have?", "8080.", "port 8080"),
            (_D, "What is the tide-table port mentioned earlier?", "8080.", "port 8080"),
            (_D, "As shown below, which port does tide-table use?", "8080.", "port 8080"),
            (_D, "What is the default port of tide-table, as described above?", "8080.", "port 8080"),
            (_D, "What does the given excerpt say on tide-table's port?", "8080.", "port 8080"),
            (_D, "What does this page say on tide-table's port?", "8080.", "port 8080"),
            (_D, "What does the page say on the port of tide-table?", "8080.", "port 8080"),
            (_D, "In the text, which port does tide-table use?", "8080.", "port 8080"),
            (_D, "Which port of tide-table is discussed here?", "8080.", "port 8080"),
            (_D, "Which of the aforementioned ports does tide-table use?", "8080.", "port 8080"),
            (_D, "What is the main topic of the passage on tide-table?", "Deploying.", "# Deploying"),
            (_D, "Which port does tide-table use?", "The text states that it is 8080.", "port 8080"),
            (_D, "Which port has tide-table?", "According to the provided context, it is 8080.", "port 8080"),
            (_D, "What port is tide-table on?", "As mentioned above, it is 8080.", "port 8080"),
            (_D, "What is tide-table's port number?", "The document says 8080.", "port 8080"),
            (_S, "What is the purpose of this function in tide-table?", "It loads settings.", "Reads the settings from the given file"),
            (_S, "What does this code do in tide-table?", "It loads settings.", "Reads the settings from the given file"),
            (_S, "What does this class of tide-table export?", "MAX_ROWS.", "export const MAX_ROWS"),
            (_S, "How does this work in tide-table?", "It loads settings.", "Reads the settings from the given file"),
            (_S, "What is this used for in tide-table?", "It loads settings.", "Reads the settings from the given file"),
            (_S, "What does the following code of tide-table do?", "It loads settings.", "Reads the settings from the given file"),
            (_S, "What is the purpose of the provided code in tide-table?", "It loads settings.", "Reads the settings from the given file"),
            (_S, "What does the file export in tide-table?", "MAX_ROWS.", "export const MAX_ROWS"),
            (_S, "What does the given file configure for tide-table?", "The server.", "Settings of the server"),
            (_P, "What did this pull request change in tide-table?", "The label.", "so the label is shorter now"),
            (_P, "What did the pull request change in tide-table?", "The label.", "so the label is shorter now"),
            (_P, "Why was this change made to tide-table?", "The label was cut off.", "was cut off on small screens"),
            (_P, "Which component of tide-table does the diff change?", "CancelButton.", "src/forms/CancelButton.tsx"),
        ],
        "named": [
            (_D, "What is the default port?", "8080.", "port 8080"),
            (_D, "How does one deploy?", "Build, push, restart.", "Restart the workers"),
            (_D, "What happens while deploying to production?", "Restart.", "Restart the workers"),
            (_D, "How many retries has the timetable project?", "3.", "retries | 3"),
            (_D, "What is the port of tide-tables-pro?", "8080.", "port 8080"),
            (_R, "What does the README say on the licence?", "MIT.", "MIT licence"),
            (_R, "What does the README.md say on the licence?", "MIT.", "MIT licence"),
            (_O, "How many constituents does the Overview name?", "37.", "37 harmonic constituents"),
            (_P, "What did PR #123 shorten?", "The label.", "so the label is shorter now"),
            (_P, "What did pull request 1 shorten?", "The label.", "so the label is shorter now"),
            (_P, "Why was the label of the cancel button shortened?", "It was cut off.", "was cut off on small screens"),
            (_S, "What does mysettings.ts export?", "MAX_ROWS.", "export const MAX_ROWS"),
            (_S, "Which hosts are allowed by the settings?", "Two.", "ALLOWED_HOSTS"),
            (_G, "Wie groß ist der Zwischenspeicher?", "64 MB.", "höchstens 64 MB"),
            (_J, "既定のポートは何番ですか。", "8080です。", "既定のポートは8080です"),
        ],
        "evidence": [
            (_D, "Which port does tide-table use?", "8080.", "Tide-table is configured through environment variables only"),
            (_D, "Which port does tide-table use?", "8081.", "port 8081"),
            (_D, "On which port does tide-table run?", "8088.", "Tide-table runs on port 8088 behind nginx; set TIDE_PORT to change it."),
            (_D, "How many rows does tide-table cache?", "100000.", "The cache holds 100,000 rows for at most 15 minutes"),
            (_D, "How long does tide-table cache?", "50 minutes.", "The cache holds 10,000 rows for at most 50 minutes, and it's cleared by tide cache"),
            (_D, "Which Node does tide-table need?", "18.17.1.", "Node 18.17.1 is the oldest version that is supported"),
            (_D, "Which Node is needed by tide-table?", "18.17.", "Node 18.17 is the oldest version that is supported"),
            (_D, "Is Windows supported by tide-table?", "Yes.", "Node 18.17.0 is the oldest version that is supported; Windows is supported."),
            (_D, "When is the database of tide-table restarted?", "During imports.", "Restart the database while an import is running."),
            (_D, "Is there a minimum Node for tide-table?", "No.", "Node 18.17.0 is not the oldest version that is supported"),
            (_D, "Does tide-table deploy with a cache?", "Yes.", "tide deploy --cache --env production"),
            (_D, "What changes the port of tide-table?", "TIDE_HOST.", "Tide-table runs on port 8080 behind nginx; set TIDE_HOST to change it."),
            (_D, "What sets the port of tide-table?", "TIDES_PORT.", "Tide-table runs on port 8080 behind nginx; set TIDES_PORT to change it."),
            (_D, "Where does tide-table push?", "A registry.", "Push it to the [registry](https://registry.example.com/tide)"),
            (_D, "What runs tide-table behind nginx?", "Workers.", "Tide-table runs on port 8080 behind nginx Restart the workers"),
            (_D, "How does tide-table cache sessions?", "In Redis.", "The cache holds 10,000 rows for 24 hours & are then dropped"),
            (_D, "Does tide-table link to privacy?", "Yes.", "The footer links to the privacy page."),
            (_D, "What holds sessions of tide-table?", "Redis.", "Redis is used by the site as the store of its sessions, for a day"),
            (_D, "What refuses big uploads to tide-table?", "413.", "Files that are bigger than 25 MB are rejected with status code 413"),
            (_D, "What is tide-table?", "A site.", "it is"),
            (_D, "What is with tide-table?", "A site.", "the"),
            (_D, "Which port has tide-table?", "8080.", ""),
            (_D, "What has tide-table?", "A port.", "..."),
            (_D, "What is the timeout of tide-table?", "250.", "`timeout_ms` | 250"),
            (_F, "What does tide-table do when saving fails?", "It throws.", "which logs a warning but does throw"),
            (_F, "What does saveDraft of tide-table do?", "It retries.", "If saving fails, `saveDrafts` retries twice and then calls `onDraftError`, which logs a warning but does not throw."),
            (_F, "Which hook reads the form context of tide-table?", "useForm.", "The form context holds what the user typed, and `useForm()` reads it."),
            (_S, "What does src/server/settings.ts return with a path?", "DEFAULTS.", "if (path) return DEFAULTS;"),
            (_S, "When does src/server/settings.ts throw?", "Under 10.", "if (settings.retries <= 10) throw new SettingsError('too many retries');"),
            (_P, "Since when is the modal of PR #12 unused?", "2.4.2.", "No, it has been unused since 2.4.2"),
            (_P, "Since which release is the modal of PR #12 unused?", "2.4.", "unused since 2.4"),
            (_P, "Who of PR #12 used the modal?", "Everybody.", "the old `ReminderModal`, which everybody used"),
            (_R, "In which language is tide-table written?", "C.", "It is written in C"),
            (_G, "Was wird von tide-table gespeichert?", "Größere Antworten.", "größere Antworten werden gespeichert"),
            (_G, "Wie groß ist der Speicher von tide-table?", "46 MB.", "Die Größe des Zwischenspeichers beträgt höchstens 46 MB"),
            (_J, "Which port has tide-table in Japan?", "8081.", "既定のポートは8081です。"),
            (_J, "Does tide-table support Windows?", "Yes.", "Windowsには対応しています"),
            (_D, "Does tide-table support ARM?", "Yes, ARM is supported.", "", "unanswerable"),
            (_D, "Which cloud hosts tide-table?", "It runs in Frankfurt.", "", "unanswerable"),
            (_D, "How much memory does tide-table need?", "About 512 MB of memory.", "port 8080", "unanswerable"),
        ],
    },
    same=[
        ("What is the default port of tide-table?", "what is the default port of tide-table"),
        ("What is the default port of tide-table?", "What is default port of the tide-table?"),
        ("What is the default port of `tide-table`?", "What is the default port of \"tide-table\"?"),
        ("Why did pull request #12 remove ReminderModal?", "Why did pull request #12 remove the ReminderModal?"),
        ("How does tide-table clear its cache?", "How does tide-table clear the cache?"),
        ("Where are drafts of tide-table saved?", "Where are the drafts of tide-table saved?"),
    ],
    other=[
        ("What is the default port of tide-table?", "What is the default host of tide-table?"),
        ("What did pull request #12 change?", "What did pull request #13 change?"),
        ("Which Node does tide-table 1.2 need?", "Which Node does tide-table 1.3 need?"),
        ("Does tide-table keep cookies?", "Does tide-table not keep cookies?"),
        ("What does src/a.ts of tide-table export?", "What does src/b.ts of tide-table export?"),
        ("When is the cache of tide-table cleared?", "Why is the cache of tide-table cleared?"),
    ],
)  # fmt: skip

_SCHEDULER = """# Scheduling jobs

Jobs are picked in the order of their priority, 0 being the highest. A worker takes at most 4 jobs at once, unless
`--slots` says otherwise. A job which has not finished after 6 hours is killed with SIGTERM, and 30 seconds later with
SIGKILL.

- **Queues**: `short`, `long` and `gpu`
- **Owner**: the infrastructure group
- **Contact**: #batch-help

We do not retry jobs that exit with code 137, as these ran out of memory. Logs are kept for 90 days
in `s3://ravel-logs/` (see <https://ravel.dev/logs>).

~~~yaml
queue: gpu
slots: 2
preempt: false
~~~
"""
_PAPER = """# Changelog

## 3.0.0 (2024-02-11)

* Removed `Matrix.inv2`; use `Matrix.inverse()` instead.
* `solve()` now raises `SingularError` rather than returning `None`.
* The default tolerance went from 1e-6 to 1e-9.

## 2.9.1 (2023-11-30)

* Fixed a crash of `lu_decompose` on empty input (thanks, Priya!).
* Wheels for musl: the minimum glibc is no longer 2.28.
"""
_GO = """package ring

// Buffer is a ring of fixed size. It is not safe for concurrent use.
// The zero value cannot be used; call New.
type Buffer struct {
\titems []Item
\thead  int
}

// Push adds an item and reports whether an older one was overwritten.
func (b *Buffer) Push(i Item) bool {
\tif len(b.items) < cap(b.items) {
\t\tb.items = append(b.items, i)
\t\treturn false
\t}
\tb.items[b.head] = i
\tb.head = (b.head + 1) % len(b.items)
\treturn true
}
"""
_THREAD = """Created at: 2024-05-01T10:00:00Z
Merged at: 2024-05-03T08:15:00Z

Use a snippet cache for the article view. Rendering an article took 340 ms before and takes 45 ms now; memory grows by
about 12&nbsp;MB. Closes #88.

File: app/views/article.rb, Status: modified
Changes:
@@ -1,4 +1,5 @@
-  render_snippets(article.body)
+  Rails.cache.fetch(article.cache_key) { render_snippets(article.body) }

Comment by jo: Why isn\u2019t the sidebar cached as well?
Comment by mia: It depends on the reader, so caching it would leak drafts.
"""
_FRENCH = """# Préférences

L\u2019application garde \u00ab\u00a0au plus\u00a0\u00bb 200 messages par salon ; les autres sont effacés après 7 jours.
Les pièces jointes de plus de 1,5 Go ne sont pas acceptées.
"""
_KOREAN = """# 설치 안내

서버는 메모리 4GB 이상이 필요합니다. 설정 파일은 /etc/ravel.toml에 있습니다.
윈도우는 지원하지 않습니다.
"""
_ARTICLES_DOC = """# Articles & snippets (editor)

An article has a title, an excerpt and a body. The excerpt is cut after 55 words. In the document outline, each
paragraph gets an anchor; the context menu copies its link. Snippets are expanded with the Tab key.
The author field falls back to "Staff".

<details><summary>Limits</summary>
A body may have up to 65,535 characters, of which none may be a NUL.
</details>
"""
_HELD = _documents(
    ("wiki", "Scheduling-jobs.md", "Scheduling jobs", _SCHEDULER),
    ("docs", "CHANGELOG.md", "Changelog", _PAPER),
    ("code", "internal/ring/buffer.go", "buffer.go", _GO),
    ("pull_request", "pull/907", "PR #907: Cache snippets (article view)", _THREAD),
    ("docs", "docs/fr/preferences.md", "Préférences", _FRENCH),
    ("docs", "docs/ko/install.md", "설치 안내", _KOREAN),
    ("wiki", "Articles-&-snippets-(editor).md", "Articles & snippets (editor)", _ARTICLES_DOC),
)
_SJ, _CL, _GB, _PR, _FR, _KO, _AS = _HELD

HELD_OUT = Planted(
    project=["ravel_batch", "acme/ravel_batch"],
    documents=_HELD,
    good=[
        (_SJ, "How many jobs does a worker of ravel_batch take at once?", "At most 4.", "A worker takes at most 4 jobs at once, unless `--slots` says otherwise."),
        (_SJ, "Which queues does ravel-batch have?", "short, long and gpu.", "Queues: short, long and gpu"),
        (_SJ, "Who owns the scheduling of Ravel Batch?", "The infrastructure group.", "* **Owner**: the infrastructure group"),
        (_SJ, "What happens in ravel_batch to a job that is above its time of 6 hours?", "It is killed, with SIGTERM first.", "A job which has not finished after 6 hours is killed with SIGTERM"),
        (_SJ, "What does the page \"Scheduling jobs\" say about code 137?", "Such jobs are not retried.", "We do not retry jobs that exit with code 137"),
        (_SJ, "For how long does ravelBatch keep logs, and where does it do this?", "For 90 days, in s3://ravel-logs/.", "Logs are kept for 90 days in s3://ravel-logs/"),
        (_SJ, "Why does ravel_batch not try a job that ended with 137 again?", "It ran out of memory.", "as these ran out of memory"),
        (_SJ, "Is a GPU job of ravel_batch preempted?", "No, preempt is false.", "preempt: false"),
        (_SJ, "Which settings has a GPU job in the example of ravel_batch?", "Two slots, no preemption.", "queue: gpu\nslots: 2\npreempt: false"),
        (_SJ, "Does ravel_batch run on Kubernetes?", "The documentation of ravel_batch doesn't say whether it does.", "", "unanswerable"),
        (_SJ, "How many workers may ravel_batch have?", "As of May 2024, the number of workers is not stated in the documentation of ravel_batch.", "", "unanswerable"),
        (_SJ, "Who wrote the scheduler of ravel_batch?", "That isn't covered by ravel_batch's documentation.", "", "unanswerable"),
        (_SJ, "Which database does ravel_batch use?", "Its documentation makes no mention of a database.", "", "unanswerable"),
        (_SJ, "When does ravel_batch send SIGKILL?", "30 seconds after SIGTERM.", "is killed with SIGTERM, and 30 seconds later with SIGKILL"),
        (_SJ, "What is the highest priority in ravel_batch?", "0.", "Jobs are picked in order of their priority, 0 being the highest"),
        (_CL, "Which method replaces Matrix.inv2 in ravel_batch 3.0.0?", "Matrix.inverse().", "Removed Matrix.inv2; use Matrix.inverse() instead"),
        (_CL, "What is the default tolerance since ravel_batch 3.0.0?", "1e-9.", "The default tolerance went from 1e-6 to 1e-9."),
        (_CL, "According to the changelog of ravel_batch, what does solve() raise?", "SingularError; this exception replaces None.", "`solve()` now raises `SingularError` rather than returning `None`"),
        (_CL, "Who is thanked in the ravel_batch changelog for the fix of lu_decompose?", "Priya.", "Fixed a crash of `lu_decompose` on empty input (thanks, Priya!)."),
        (_CL, "When was version 2.9.1 of ravel_batch released?", "On 30 November 2023.", "## 2.9.1 (2023\u201111\u201130)"),
        (_GB, "In internal/ring/buffer.go, what does Push do once the ring is full?", "This method overwrites the item at the head.", "b.items[b.head] = i\n\tb.head = (b.head + 1) % len(b.items)\n\treturn true"),
        (_GB, "What does buffer.go say on concurrent use?", "It is not safe.", "It is not safe for concurrent use."),
        (_GB, "What does Push in internal/ring/buffer.go report about the given item?", "Whether an older one was overwritten.", "Push adds an item and reports whether an older one was overwritten."),
        (_GB, "When does Push of internal/ring/buffer.go return false?", "While there is room.", "if len(b.items) < cap(b.items) {"),
        (_GB, "Can the zero value of the struct in internal/ring/buffer.go be used?", "No, New has to be called.", "It is not safe for concurrent use. The zero value cannot be used; call New."),
        (_PR, "How long does it take to render an article since PR 907?", "45 ms.", "takes 45 ms now"),
        (_PR, "By how much does memory grow with pull request #907 of ravel_batch?", "About 12 MB.", "memory grows by about 12 MB"),
        (_PR, "Why does PR #907 not cache the sidebar, and who said this?", "mia: caching it would leak drafts.", "It depends on the reader, so caching it would leak drafts"),
        (_PR, "Which issue did GH-907 close?", "#88.", "Closes #88."),
        (_PR, "What did \"Cache snippets (article view)\" change in the article view?", "It caches snippets.", "Rails.cache.fetch(article.cache_key) { render_snippets(article.body) }"),
        (_PR, "What did jo ask on pull request (#907)?", "Why the sidebar is not cached.", "Why isn't the sidebar cached as well?"),
        (_FR, "Combien de messages ravel_batch garde-t-il par salon ?", "200 au plus.", "L'application garde \"au plus\" 200 messages par salon"),
        (_FR, "Que dit la page Préférences des pièces jointes ?", "Celles de plus de 1,5 Go ne sont pas acceptées.", "Les pie\u0300ces jointes de plus de 1,5 Go ne sont pas acceptées"),
        (_KO, "ravel_batch는 윈도우를 지원합니까?", "아니요.", "윈도우는 지원하지 않습니다."),
        (_KO, "설치 안내에 따르면 메모리는 얼마나 필요합니까?", "4GB입니다.", "서버는 메모리 4GB 이상이 필요합니다"),
        (_AS, "After how many words does ravel_batch cut the excerpt of an article?", "After 55.", "The excerpt is cut after 55 words."),
        (_AS, "What does the context menu of ravel_batch's editor copy from the document outline?", "A paragraph's link.", "the context menu copies its link"),
        (_AS, "What does each paragraph in the document outline of ravel_batch get?", "An anchor.", "In the document outline, each paragraph gets an anchor"),
        (_AS, "Which key expands snippets in the articles of ravel_batch?", "Tab.", "Snippets are expanded with the Tab key"),
        (_AS, "What does ravel_batch put where the author is missing?", "\"Staff\", to which the author field falls back.", "The author field falls back to \u201cStaff\u201d"),
        (_AS, "How many characters may the body of an article have in ravel_batch?", "65535.", "A body may have up to 65535 characters, of which none may be a NUL"),
        (_AS, "When the passage of text in the ravel_batch editor is too long, where is it cut?", "After 55 words.", "cut after 55 words"),
        (_AS, "Which parts does an article in the ravel_batch editor have below the title?", "An excerpt and a body.", "An article has a title, an excerpt and a body."),
    ],
    bad={
        "deixis": [
            (_SJ, "From the information given, how many jobs does a ravel_batch worker take?", "4.", "at most 4 jobs at once"),
            (_SJ, "Which queues of ravel_batch are listed in the above section?", "short, long, gpu.", "`short`, `long` and `gpu`"),
            (_SJ, "Going by the excerpt, when is a ravel_batch job killed?", "After 6 hours.", "after 6 hours is killed"),
            (_SJ, "As stated in the article, for how long does ravel_batch keep logs?", "90 days.", "Logs are kept for 90 days"),
            (_SJ, "What three queues of ravel_batch does the writer of the text name?", "short, long, gpu.", "`short`, `long` and `gpu`"),
            (_SJ, "How does the document describe priorities in ravel_batch?", "0 is the highest.", "0 being the highest"),
            (_SJ, "Why is it done this way in the snippet of ravel_batch?", "Memory.", "ran out of memory"),
            (_SJ, "Which contact of ravel_batch is given on this page?", "#batch-help.", "#batch-help"),
            (_SJ, "How many slots does the YAML example below set for ravel_batch?", "2.", "slots: 2"),
            (_SJ, "How many jobs does a ravel_batch worker take?", "As the passage explains, at most 4.", "at most 4 jobs at once"),
            (_SJ, "When is a ravel_batch job killed?", "Based on the text provided, after 6 hours.", "after 6 hours is killed"),
            (_SJ, "What are ravel_batch's queues?", "The queues listed above are short, long and gpu.", "`short`, `long` and `gpu`"),
            (_CL, "What was changed in this release of ravel_batch?", "inv2 was removed.", "Removed `Matrix.inv2`"),
            (_CL, "In the given changelog, what replaces inv2 of ravel_batch?", "Matrix.inverse().", "use `Matrix.inverse()` instead"),
            (_GB, "What does this struct of ravel_batch hold?", "Items.", "Buffer is a ring of fixed size"),
            (_GB, "What does the above Go code in ravel_batch do?", "It is a ring.", "Buffer is a ring of fixed size"),
            (_GB, "What is the role of this file in ravel_batch?", "A ring.", "Buffer is a ring of fixed size"),
            (_GB, "Is this safe for concurrent use in ravel_batch?", "No.", "It is not safe for concurrent use"),
            (_PR, "What problem does this PR solve in ravel_batch?", "Slow rendering.", "takes 45 ms now"),
            (_PR, "What did the PR add to ravel_batch?", "A cache.", "Use a snippet cache"),
        ],
        "named": [
            (_SJ, "How many jobs does a worker take at once?", "4.", "at most 4 jobs at once"),
            (_SJ, "Which queues does unravel_batches have?", "short, long, gpu.", "`short`, `long` and `gpu`"),
            (_CL, "Which method replaced Matrix.inv2 according to the Changelog?", "Matrix.inverse().", "use `Matrix.inverse()` instead"),
            (_CL, "What does CHANGELOG.md say on musl?", "Wheels.", "Wheels for musl"),
            (_GB, "What does Push report?", "Whether an item was overwritten.", "reports whether an older one was overwritten"),
            (_GB, "What does ringbuffer.go hold?", "Items.", "Buffer is a ring of fixed size"),
            (_PR, "What did pull request #90 or #9070 close?", "#88.", "Closes #88."),
            (_PR, "Who asked about the sidebar?", "jo.", "Why isn't the sidebar cached"),
            (_KO, "메모리는 얼마나 필요합니까?", "4GB입니다.", "메모리 4GB 이상이 필요합니다"),
        ],
        "evidence": [
            (_SJ, "How many jobs may a ravel_batch worker have?", "14.", "A worker takes at most 14 jobs at once, unless `--slots` says otherwise."),
            (_SJ, "Are jobs of ravel_batch retried after 137?", "Yes.", "We do retry jobs that exit with code 137, as these ran out of memory."),
            (_SJ, "Which exit code of ravel_batch is not retried?", "139.", "We do not retry jobs that exit with code 139, as these ran out of memory."),
            (_SJ, "Where are the logs of ravel_batch?", "In S3.", "Logs are kept for 90 days in `s3://ravel-data/`"),
            (_SJ, "With what is a ravel_batch job killed?", "SIGINT.", "A job which has not finished after 6 hours is killed with SIGINT, and 30 seconds later with SIGKILL."),
            (_SJ, "Which jobs of ravel_batch come first?", "Those of priority 0.", "The scheduler sorts jobs by priority so that the most urgent one starts first"),
            (_SJ, "What do workers of ravel_batch do with the owner?", "Nothing.", "A worker takes at most the infrastructure group"),
            (_SJ, "Is a GPU job of ravel_batch preempted?", "Yes.", "preempt: true"),
            (_SJ, "Where are ravel_batch's jobs?", "Here.", "of their"),
            (_SJ, "When are jobs of ravel_batch killed?", "When they finished.", "A job which has finished after 6 hours is killed with SIGTERM"),
            (_SJ, "Does ravel_batch support Slurm?", "Yes, through a plugin.", "", "unanswerable"),
            (_CL, "What is the tolerance of ravel_batch?", "1e-8.", "The default tolerance went from 1e-6 to 1e-8."),
            (_CL, "Which version of ravel_batch fixed lu_decompose?", "2.9.2.", "2.9.2 (2023-11-30)"),
            (_CL, "When was ravel_batch 3.0.0 released?", "In 2023.", "3.0.0 (2023-02-11)"),
            (_CL, "Which glibc does ravel_batch need?", "2.28.", "the minimum glibc is 2.28"),
            (_CL, "What does solve() of ravel_batch return?", "None.", "`solves()` now raises `SingularError` rather than returning `None`."),
            (_CL, "Is inv2 of ravel_batch gone?", "Yes.", "Removed `Matrix.inv3`; use `Matrix.inverse()` instead."),
            (_GB, "Is internal/ring/buffer.go safe for concurrent use?", "Yes.", "It is safe for concurrent use."),
            (_GB, "When does Push of internal/ring/buffer.go append?", "When full.", "if len(b.items) > cap(b.items) {"),
            (_GB, "How does internal/ring/buffer.go move its head?", "Backwards.", "b.head = (b.head - 1) % len(b.items)"),
            (_PR, "How long did rendering take before PR #907?", "34 ms.", "Rendering an article took 34 ms before and takes 45 ms now"),
            (_PR, "What would caching do in PR #907?", "Nothing.", "caching it would not leak drafts"),
            (_PR, "Who approved PR #907?", "mia approved it.", "Comment by mia: Looks good, approved."),
            (_FR, "Quelles pièces jointes ravel_batch accepte-t-il ?", "Les grandes.", "Les pièces jointes de plus de 1,5 Go sont acceptées"),
            (_KO, "Does ravel_batch support Windows?", "Yes.", "윈도우는 지원합니다"),
            (_KO, "How much memory needs ravel_batch?", "8GB.", "서버는 메모리 8GB 이상이 필요합니다"),
            (_AS, "How long may a body in ravel_batch be?", "65,536.", "A body may have up to 65,536 characters"),
        ],
    },
    same=[
        ("Which queues does ravel_batch have?", "which queues does the ravel_batch have"),
        ("How many slots has a GPU job of `ravel_batch`?", "How many slots has the GPU job of ravel_batch?"),
        ("What did pull request #907 cache?", "What's cached by pull request #907?"),
    ],
    other=[
        ("Which queues does ravel_batch have?", "Which queues did ravel_batch 2.9 have?"),
        ("Who is the owner of ravel_batch?", "Who is the contact of ravel_batch?"),
        ("When is a job killed by ravel_batch with SIGTERM?", "When is a job killed by ravel_batch with SIGKILL?"),
    ],
)  # fmt: skip
