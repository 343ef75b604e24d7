"""The recipe's sweep, coarse to fine: which rank, scale, batch and learning rate give the lowest chat loss.

In a notebook:

    rows = sweep(default_sweep(config), config, mixture_config, space)
    final = changed(config, best(space, "sweep"))       # then the -All-Data run

A sweep lives in sweeps/<name>/. Each trial is a process of its own, so that its memory is free afterwards. What was
interrupted goes on where it was; several runtimes that share the folder share the trials. All trials of a round see
the same share of an epoch, whatever their batch, and are compared only with each other.

The journal's lock holds on one machine and on NFS. A Drive that two machines mount has none that holds between them:
there, let one runtime at a time work on a sweep.

    grid        what is tried: settings of a sweep, the points of its rounds
    journal     what has been tried, and by whom: Optuna's journal on disk
    trials      one trial: its process, its heartbeat, what it left behind
    plots       parallel coordinates, loss by learning rate
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ftlib import progress
from ftlib.errors import SetupError
from ftlib.mixture import MixtureConfig
from ftlib.settings import TrainConfig
from ftlib.sweep.grid import SweepConfig, check_sweep, coarse_points, default_sweep, fine_points, grid, trial_settings
from ftlib.sweep.journal import (
    Journal,
    add_missing,
    attribute,
    claim,
    finish,
    is_running,
    open_journal,
    rounds,
    standing,
)
from ftlib.sweep.trials import INTERRUPTED, TAKEN_OVER, beat, is_abandoned, last_beat, run_trial
from ftlib.workspace import Workspace, plain, require

__all__ = ["SweepConfig", "best", "check_sweep", "default_sweep", "ranking", "sweep", "trial_settings"]
STRIKES = 3
"""Trials that fail for one reason, from the first on, before a sweep stops."""
UNEQUAL = 1.05
"""Ratio of the most to the fewest tokens in a round, from which on it is told."""


def sweep(
    config: SweepConfig,
    train_config: TrainConfig,
    mixture_config: MixtureConfig,
    space: Workspace,
    *,
    command: Sequence[str] = (sys.executable, "-m", "ftlib.train"),
) -> list[dict[str, Any]]:
    """Run the trials that are not done yet, and return `ranking`.

    Args:
        train_config: the settings that are not swept.
        command: runs one trial; gets the path of the trial's config.json as its last argument.

    Raises:
        SetupError: a setting that can't work; other settings or data under a name in use; or no trial of a round ended
            well, or the first three failed for one reason (they are tried again by the next call).
    """
    check_sweep(config, train_config, mixture_config)
    require(space, "documents", "chats")
    journal = open_journal(_folder(space, config.name))
    _same_as_before(journal, config, train_config, mixture_config, space)
    for round in range(1, len(config.trials) + 1):
        if round > len(rounds(journal)):
            attribute(journal, f"round {round}", _points(journal, config, round))
        _run_round(journal, config, round, train_config, mixture_config, space, command)
        _say_what_to_know(journal, config, round)
    return ranking(space, config.name)


def _folder(space: Workspace, name: str) -> Path:
    return space.root / "sweeps" / space.run(name).name  # `run` checks the name


def _same_as_before(
    journal: Journal, config: SweepConfig, train_config: TrainConfig, mixture_config: MixtureConfig, space: Workspace
) -> None:
    identity = {
        "sweep": {name: getattr(config, name) for name in ("coarse", "trials", "epochs", "seed")},
        "train": train_config,
        "mixture": mixture_config,
        "data": space.hashes({"documents": space.documents, "chats": space.chats}),
    }
    # What is swept is free in the base, and a machine may split a batch its own way.
    ours = json.loads(json.dumps({key: plain(value) for key, value in identity.items()}))
    theirs = attribute(journal, "base", ours)
    free = {f"train.{name}" for name in (*trial_settings(grid(config.coarse)[0], train_config), "num_train_epochs")}
    before, now = _flat(theirs), _flat(ours)
    differs = [key for key in sorted({*before, *now} - free) if before.get(key) != now.get(key)]
    if differs:
        said = "; ".join(f"{key} was {before.get(key)!r}, now {now.get(key)!r}" for key in differs)
        raise SetupError(
            f"The sweep {config.name!r} was begun with something else: {said}. Choose another name for this one."
        )


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in tree.items():
        found |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return found


def _points(journal: Journal, config: SweepConfig, round: int) -> list[dict[str, Any]]:
    if round == 1:
        return coarse_points(config.coarse, config.trials[0], config.seed)
    before = standing(journal, round - 1)
    best = min((e for e in before if e["state"] == "done"), key=_order)
    rates = [point["learning_rate"] for points in rounds(journal) for point in points if "learning_rate" in point]
    rates += config.coarse.get("learning_rate", [])
    return fine_points(best["point"], rates, config.coarse, config.trials[round - 1], config.seed + round)


# --- a round ----------------------------------------------------------------------------------------------------------


def _run_round(
    journal: Journal,
    config: SweepConfig,
    round: int,
    train_config: TrainConfig,
    mixture_config: MixtureConfig,
    space: Workspace,
    command: Sequence[str],
) -> None:
    said = False
    with progress.bar(len(rounds(journal)[round - 1]), "trial", f"round {round}") as shown:
        while True:
            add_missing(journal, round, config.coarse)
            entries = standing(journal, round)
            shown.update(sum(e["state"] in ("done", "failed") for e in entries) - shown.n)
            _stop_if_hopeless(journal, entries, first=round == 1)
            busy = [e for e in entries if e["state"] == "running"]
            if all(e["state"] in ("done", "failed") for e in entries):
                return
            gone = [e for e in busy if _is_gone(journal, e, config)]
            for entry in gone:
                if finish(journal, entry["attempt"], {"reason": INTERRUPTED, "stderr": []}):
                    shown.write(f"Trial {entry['number']:04d} was left unfinished and goes on here.")
            if gone:
                continue
            mine = next((e for e in entries if e["state"] == "waiting" and claim(journal, e["attempt"])), None)
            if mine is None:
                if busy and not said:
                    hosts = {last_beat(journal.trial_folder(e["number"])).get("host", "?").split()[0] for e in busy}
                    shown.write(f"Waiting for {len(busy)} trial(s) of other runtimes ({', '.join(sorted(hosts))}).")
                    said = True
                time.sleep(min(5.0, config.heartbeat / 2))
                continue
            settings = {
                "workspace": str(space.root),
                "folder": journal.trial_folder(mine["number"]).relative_to(space.root).as_posix(),
                "train": {
                    **plain(train_config),
                    **trial_settings(mine["point"], train_config),
                    "num_train_epochs": config.epochs[round - 1],
                },
                "mixture": plain(mixture_config),
                "keep": "metrics",
            }
            shown.write(_line(mine, round, _run_one(journal, config, mine, settings, command)))


def _is_gone(journal: Journal, entry: Mapping[str, Any], config: SweepConfig) -> bool:
    folder = journal.trial_folder(entry["number"])
    return is_abandoned(folder, entry["attempt"], entry["claimed"], config.stale_after)


def _run_one(
    journal: Journal, config: SweepConfig, entry: Mapping[str, Any], settings: Mapping[str, Any], command: Sequence[str]
) -> dict[str, Any]:
    folder, attempt = journal.trial_folder(entry["number"]), entry["attempt"]

    def beating(child: int | None) -> bool:
        try:
            if ours := is_running(journal, attempt):
                beat(folder, attempt, child)
        except OSError:  # a shared disk that is away for a moment must not end hours of training
            return True
        return ours

    try:
        outcome = run_trial(folder, settings, command, beating, config.heartbeat, config.timeout)
    except BaseException:  # Ctrl-C above all: whoever comes next takes the trial up at once
        finish(journal, attempt, {"reason": INTERRUPTED, "stderr": []})
        raise
    return outcome if finish(journal, attempt, outcome) else {"reason": TAKEN_OVER}


def _line(entry: Mapping[str, Any], round: int, outcome: Mapping[str, Any]) -> str:
    point = ", ".join(
        f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}" for name, value in entry["point"].items()
    )
    said = outcome.get("reason", "")
    if result := outcome.get("result"):
        parts = {"chat": "{:.3f}", "raw": "{:.3f}", "forgetting": "{:+.3f}"}
        losses = [result["chat_loss"], result["raw_loss"], result["forgetting"]]
        said = ", ".join(
            f"{name} {form.format(loss)}"
            for (name, form), loss in zip(parts.items(), losses, strict=True)
            if loss is not None
        )
        said += f" ({result['seconds']:.0f} s)"
    return f"Trial {entry['number']:04d}, round {round}, {point}: {said}"


def _stop_if_hopeless(journal: Journal, entries: Sequence[Mapping[str, Any]], *, first: bool) -> None:
    """Stop where the sweep's first trials all fail for one reason, or all trials of a round for any."""
    failed = sorted((e for e in entries if e["state"] == "failed"), key=lambda e: e["ended"])
    alike = first and len(failed) >= STRIKES and len({e["reason"] for e in failed[:STRIKES]}) == 1
    if any(e["state"] == "done" for e in entries) or not (alike or len(failed) == len(entries)):
        return
    # The mistake may be mended outside of the settings: the next call tries these again.
    journal.study.set_user_attr("void", [*(attribute(journal, "void") or []), *(e["attempt"] for e in failed)])
    reasons = Counter(e["reason"] for e in failed)
    said = "; ".join(f"{reason} ({count} of {len(failed)})" for reason, count in reasons.items())
    stderr = journal.trial_folder(failed[0]["number"]) / "stderr.txt"
    raise SetupError(
        f"The sweep has stopped, since no trial of the round ended well: {said}. The last lines of {stderr}:\n  "
        + "\n  ".join(failed[0]["stderr"][-5:] or ["(nothing)"])
        + "\nMend it and run the sweep again (it tries these trials anew), or choose another name for other settings."
    )


def _say_what_to_know(journal: Journal, config: SweepConfig, round: int) -> None:
    done = [e for e in standing(journal, round) if e["state"] == "done"]
    tokens = [e["result"]["tokens"] for e in done]
    if max(tokens) > UNEQUAL * min(tokens):
        print(
            f"Round {round}: trials saw {min(tokens):,} to {max(tokens):,} tokens. A share of an epoch ends on a whole "
            "step, so raise `epochs` or leave the largest batch out."
        )
    rates = [e["point"]["learning_rate"] for e in done if "learning_rate" in e["point"]]
    best = min(done, key=_order)["point"].get("learning_rate")
    if len(set(rates)) > 1 and best in (min(rates), max(rates)):
        edge = "lowest" if best == min(rates) else "highest"
        print(f"Round {round}: the best learning rate, {best:g}, is the {edge} tried.")


def _order(entry: Mapping[str, Any]) -> tuple[float, int]:
    return entry["result"]["chat_loss"], entry["number"]


# --- what came out ----------------------------------------------------------------------------------------------------


def ranking(space: Workspace, name: str) -> list[dict[str, Any]]:
    """All trials of a sweep, best first.

    Only trials of one round saw equally many tokens, so ranks count within a round: the last finished round comes
    first, then the earlier ones, then one that is not finished.

    Returns:
        dicts of rank (1 is the best; None where there is no loss), number, round, epochs, each swept setting, chat_loss
        and raw_loss (nats a token, over all validation tokens), forgetting (general loss after less before, nats a
        token; None where it was not measured), tokens (seen in training), seconds, state (done, failed: why, running,
        waiting).

    Raises:
        SetupError: there is no such sweep.
    """
    journal = _existing(space, name)
    table: list[tuple[bool, list[dict[str, Any]]]] = []
    for round in range(1, len(rounds(journal)) + 1):
        entries = standing(journal, round)
        epochs = attribute(journal, "base")["sweep"]["epochs"][round - 1]
        done = sorted((e for e in entries if e["state"] == "done"), key=_order)
        rows = [_row(e, round, epochs, rank) for rank, e in enumerate(done, 1)]
        rows += [_row(e, round, epochs, None) for e in entries if e["state"] != "done"]
        table.insert(0, (bool(done) and all(e["state"] in ("done", "failed") for e in entries), rows))
    return [row for _, rows in sorted(table, key=lambda entry: not entry[0]) for row in rows]


def _row(entry: Mapping[str, Any], round: int, epochs: float, rank: int | None) -> dict[str, Any]:
    result = entry["result"] if rank else {}
    state = {"failed": f"failed: {entry['reason']}", "open": "waiting"}.get(entry["state"], entry["state"])
    measured = {key: result.get(key) for key in ("chat_loss", "raw_loss", "forgetting", "tokens", "seconds")}
    return {
        "rank": rank,
        "number": entry["number"],
        "round": round,
        "epochs": epochs,
        **entry["point"],
        **measured,
        "state": state,
    }


def best(space: Workspace, name: str, *, max_forgetting: float | None = None) -> dict[str, Any]:
    """The swept settings of the best trial, as fields of TrainConfig: for `changed(config, best(space, name))`.

    Args:
        max_forgetting: leave trials out whose general loss rose by more, in nats a token.

    Raises:
        SetupError: there is no such sweep, no trial has finished, or none forgot so little.
    """
    rows = ranking(space, name)
    done = [row for row in rows if row["rank"] and row["round"] == rows[0]["round"]]
    if not done:
        raise SetupError(f"No trial of the sweep {name!r} has finished: run it first.")
    if max_forgetting is not None:
        known = [row["forgetting"] for row in done if row["forgetting"] is not None]
        if not known:
            raise SetupError("Forgetting was not measured: set `general` in the mixture, or leave max_forgetting out.")
        done = [row for row in done if row["forgetting"] is not None and row["forgetting"] <= max_forgetting]
        if not done:
            raise SetupError(
                f"Every trial forgot more than max_forgetting={max_forgetting} nats a token; the least is "
                f"{min(known):.3g}."
            )
    base = attribute(_existing(space, name), "base")
    return trial_settings({key: done[0][key] for key in base["sweep"]["coarse"]}, TrainConfig(**base["train"]))


def _existing(space: Workspace, name: str) -> Journal:
    folder = _folder(space, name)
    journal = open_journal(folder) if (folder / "journal.log").is_file() else None
    if journal is None or attribute(journal, "base") is None:
        there = sorted(path.parent.name for path in space.root.glob("sweeps/*/journal.log"))
        raise SetupError(f"There is no sweep {name!r} in {space.root} ({', '.join(there) or 'no sweep at all'}).")
    return journal
