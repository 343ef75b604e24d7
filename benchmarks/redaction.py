"""What redaction finds: recall on planted secrets, false finds in a repository's files, seconds; beside two scanners.

    .venv/bin/python benchmarks/redaction.py [--repository PATH] [--repeats 5] [--no-peers]

The planted sets are tests/planted.py, which the rules were made with, and tests/planted_held_out.py, which was written
after them, and whose first recall stands in results/redaction.json. A secret counts as found when its whole value is
gone from the text; for a peer, when a finding covers four fifths of it. The values are random, so checksums within some
formats (GitHub, npm) do not hold; kingfisher looks at them. False finds: files with a find other than an e-mail
address, in 100 files, every find counted as false: the true figure is this or less. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from planted import File, planted
from planted_held_out import held_out

from ftlib.scrape import redaction

PACKAGES = ["ftlib", "bc-detect-secrets", "kingfisher-bin"]
MOST_BYTES = 200_000
Finds = dict[str, list[str]]  # values by path


# --- who finds what ---------------------------------------------------------------------------------------------------


def kingfisher(folder: Path) -> Finds:
    """Its findings at the lowest confidence, nothing validated."""
    with tempfile.TemporaryDirectory() as cache:
        out = Path(cache) / "findings.jsonl"
        command = (
            f"kingfisher scan --no-validate --no-update-check --format jsonl --no-dedup --confidence low -q {folder}"
        )
        env = {**os.environ, "KF_RULE_CACHE_DIR": cache}
        done = subprocess.run([*command.split(), "-o", str(out)], env=env, capture_output=True, text=True, timeout=600)
        if not out.is_file():
            raise RuntimeError(f"kingfisher wrote nothing: {done.stderr[-500:]}")
        found: Finds = defaultdict(list)
        for line in out.read_text(encoding="utf-8").splitlines():
            finding = json.loads(line).get("finding", {})
            if "path" in finding:
                found[os.path.relpath(Path(finding["path"]).resolve(), folder.resolve())].append(finding["snippet"])
        return found


def detect_secrets(folder: Path) -> Finds:
    """Its scan with the default plugins."""
    from detect_secrets.core.secrets_collection import SecretsCollection
    from detect_secrets.settings import default_settings

    found: Finds = defaultdict(list)
    with default_settings():
        secrets = SecretsCollection()
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            secrets.scan_file(str(path))
        for name, secret in secrets:
            found[os.path.relpath(name, folder)].append(secret.secret_value or "")
    return found


PEERS: dict[str, Callable[[Path], Finds]] = {"kingfisher": kingfisher, "detect-secrets": detect_secrets}


def covered(value: str, finds: list[str]) -> bool:
    return any(value in find or (find in value and len(find) >= 0.8 * len(value)) for find in finds)


def recall(files: list[File], finds: Finds) -> float:
    hits = [covered(value, finds.get(file.path, [])) for file in files for _, value in file.secrets]
    return round(sum(hits) / len(hits), 4)


def our_recall(files: list[File]) -> tuple[float, list[str]]:
    missed = []
    for file in files:
        text, _ = redaction.redact(file.text)
        missed += [f"{kind} ({file.path})" for kind, value in file.secrets if value in text]
    return round(1 - len(missed) / sum(len(file.secrets) for file in files), 4), missed


# --- inputs -----------------------------------------------------------------------------------------------------------


def repository_files(repository: str) -> dict[str, str]:
    """The text files of a clone's newest commit, lock files and large ones left out."""
    env = {**os.environ, "GIT_NO_LAZY_FETCH": "1"}

    def git(*arguments: str) -> bytes:
        done = subprocess.run(["git", "-C", repository, *arguments], env=env, capture_output=True, check=False)
        return done.stdout if done.returncode == 0 else b""

    files = {}
    for row in git("ls-tree", "-r", "-z", "HEAD").split(b"\0")[:-1]:
        head, _, name = row.partition(b"\t")
        path = name.decode("utf-8", "replace")
        if head.startswith(b"100") and not path.endswith((".lock", "lock.json", "lock.yaml", ".svg")):
            data = git("cat-file", "blob", head.split()[2].decode())
            if data and b"\0" not in data and len(data) <= MOST_BYTES:
                files[path] = data.decode("utf-8", "replace")
    return files


def write(files: dict[str, str], folder: Path) -> None:
    for path, text in files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")


# --- measuring --------------------------------------------------------------------------------------------------------


def seconds_of(texts: list[str], repeats: int) -> float:
    """CPU seconds of `redact` over the texts, nothing remembered from before; the least of all repeats."""
    took = []
    for _ in range(repeats):
        redaction.forget()
        start = time.process_time()
        for text in texts:
            redaction.redact(text)
        took.append(time.process_time() - start)
    return round(min(took), 4)


def per_100(files: int, hits: int) -> float:
    return round(100 * hits / files, 3)


def cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.processor() or platform.machine()}, {os.cpu_count()} cores"


def installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def measure_peer(find: Callable[[Path], Finds], sets: list[list[File]], code: dict[str, str]) -> dict[str, Any]:
    row: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="ftlib-bench-") as name:
        for key, files in zip(("recall", "recall_held_out"), sets, strict=True):
            folder = Path(name) / key
            write({file.path: file.text for file in files}, folder)
            start = time.perf_counter()
            row[key] = recall(files, find(folder))
            row.setdefault("seconds", round(time.perf_counter() - start, 3))
        row["false_positives_per_100_files"] = None
        if code:
            write(code, Path(name) / "code")
            start = time.perf_counter()
            row["false_positives_per_100_files"] = per_100(len(code), len(find(Path(name) / "code")))
            row["seconds_repository"] = round(time.perf_counter() - start, 3)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repository", default="", help="path of a clone whose files count for false finds")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--peers", action=argparse.BooleanOptionalAction, default=True)
    options = parser.parse_args()
    first, second = planted(), held_out()
    code = repository_files(options.repository) if options.repository else {}
    start = time.perf_counter()
    found, missed = our_recall(first)
    first_call = round(time.perf_counter() - start, 3)
    found_held_out, missed_held_out = our_recall(second)
    hits = {}
    for path, text in code.items():
        kinds = redaction.redact(text)[1]
        if set(kinds) - {"email"}:
            hits[path] = {kind: number for kind, number in kinds.items() if kind != "email"}
    result: dict[str, Any] = {
        "planted": sum(len(file.secrets) for file in first),
        "kinds": len({kind.split(" in ")[0] for file in first for kind, _ in file.secrets}),
        "recall": found,
        "missed": missed,
        "held_out": sum(len(file.secrets) for file in second),
        "recall_held_out": found_held_out,
        "missed_held_out": missed_held_out,
        "repository_files": len(code),
        "repository_hits": hits,
        "false_positives_per_100_files": per_100(len(code), len(hits)) if code else None,
        "seconds": seconds_of([file.text for file in first], options.repeats),
        "seconds_first_call_with_imports": first_call,
        "seconds_repository": seconds_of(list(code.values()), options.repeats) if code else None,
        "repository_characters": sum(map(len, code.values())),
        "peers": {},
    }
    for name, find in PEERS.items() if options.peers else ():
        try:
            result["peers"][name] = measure_peer(find, [first, second], code)
        except (ImportError, FileNotFoundError) as error:
            result["peers"][name] = None
            print(f"{name} is not installed ({error}).", file=sys.stderr)
    result |= {"cpu": cpu(), "versions": {"python": platform.python_version(), **{p: installed(p) for p in PACKAGES}}}
    rows = {"ftlib": result, **{name: row for name, row in result["peers"].items() if row}}
    print(f"{'':16}{'recall':>9}{'held out':>10}{'false/100':>11}{'seconds':>9}")
    for name, row in rows.items():
        false = row["false_positives_per_100_files"]
        print(
            f"{name:16}{row['recall']:>9.3f}{row['recall_held_out']:>10.3f}"
            f"{'-' if false is None else format(false, '.2f'):>11}{row['seconds']:>9.3f}"
        )
    print("\n" + json.dumps(result))


if __name__ == "__main__":
    main()
