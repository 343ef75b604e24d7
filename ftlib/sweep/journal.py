"""The journal of a sweep: which point was tried by whom, how it ended. Several runtimes write the same file.

It is an Optuna study (https://optuna.readthedocs.io, JournalStorage with the file backend), so Optuna's own tools read
it. One point of the grid is tried in one or more attempts, each an Optuna trial: an attempt that was interrupted is
never revived but followed by another, since marking it as failed is what exactly one of several runtimes can do.
The journal gives all writers one order: where two add an attempt of the same point at once, the first one counts.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ftlib.errors import SetupError
from ftlib.sweep.trials import INTERRUPTED

KILLED = "killed by"
KILLS = 2
"""Whatever kills a trial from outside may be gone at the next try; a trial that dies twice is left alone."""
DUPLICATE = "duplicate"


@dataclass(frozen=True)
class Journal:
    """An open journal."""

    folder: Path
    """sweeps/<name>."""
    study: Any
    """The Optuna study; its user attributes hold the settings and each round's points."""
    storage: Any
    """Optuna's storage, for what a study does not offer: taking a trial that waits, once among all runtimes."""

    def trial_folder(self, number: int) -> Path:
        return self.folder / "trials" / f"{number:04d}"


def open_journal(folder: Path) -> Journal:
    """Open the journal of a sweep, and begin it where there is none.

    Raises:
        SetupError: optuna is missing, or the file is damaged.
    """
    try:
        import optuna
    except ImportError as error:
        raise SetupError("A sweep needs optuna: pip install 'ftlib[train]'.") from error
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "journal.log"
    # An exclusive file as lock: NFS keeps it, and Drive, which has no symbolic links, can hold it.
    lock = JournalFileOpenLock(str(path))
    _mend(path, lock)
    try:
        storage = JournalStorage(JournalFileBackend(str(path), lock))
        try:
            study = optuna.load_study(study_name="sweep", storage=storage)
        except KeyError:
            study = optuna.create_study(storage=storage, study_name="sweep", direction="minimize", load_if_exists=True)
    except (ValueError, KeyError, AssertionError) as error:
        raise SetupError(
            f"{path} is damaged ({error}). Delete it and run the sweep again: "
            "finished trials are found in their folders."
        ) from error
    return Journal(folder, study, storage)


def _mend(path: Path, lock: Any) -> None:
    """Cut a last line off that was written in part, as by a machine that went down: the next one would join it."""
    if not path.exists() or path.read_bytes()[-1:] in (b"", b"\n"):
        return
    lock.acquire()  # else it may be a line that another runtime is writing now
    try:
        kept = path.read_bytes().rpartition(b"\n")
        with path.open("r+b") as handle:
            handle.truncate(len(kept[0] + kept[1]))
    finally:
        lock.release()


def attribute(journal: Journal, name: str, value: Any = None) -> Any:
    """What the journal says under `name`; where it says nothing, `value` is written first (None: nothing is).

    Where two runtimes write at once, both return what came last.
    """
    found = journal.study.user_attrs
    if name not in found and value is not None:
        journal.study.set_user_attr(name, value)
        found = journal.study.user_attrs
    return found.get(name)


def rounds(journal: Journal) -> list[list[dict[str, Any]]]:
    """The points of each round that has begun."""
    found = journal.study.user_attrs
    names = itertools.takewhile(found.__contains__, (f"round {n}" for n in itertools.count(1)))
    return [found[name] for name in names]


# --- attempts ---------------------------------------------------------------------------------------------------------


def standing(journal: Journal, round: int) -> list[dict[str, Any]]:
    """How each point of a round stands.

    Args:
        round: 1 for the first.

    Returns:
        dicts of number (in the sweep, from 0), point, state (done, failed, running, waiting; open: it has no attempt
        that counts), attempt (Optuna's number of the one that counts), result, reason, stderr, and when it was claimed
        and ended, in seconds since the epoch.
    """
    from optuna.trial import TrialState

    points, void = rounds(journal), set(attribute(journal, "void") or [])
    first = sum(len(earlier) for earlier in points[: round - 1])
    attempts: dict[int, list[Any]] = {first + n: [] for n in range(len(points[round - 1]))}
    for trial in journal.study.trials:
        if trial.user_attrs.get("number") in attempts and trial.number not in void:
            attempts[trial.user_attrs["number"]].append(trial)
    found = []
    for number, trials in attempts.items():
        done = [t for t in trials if t.state == TrialState.COMPLETE]
        failed = [t for t in trials if t.state == TrialState.FAIL and _is_final(t, trials)]
        live = [t for t in trials if t.state in (TrialState.RUNNING, TrialState.WAITING)]
        counts = (done or failed or live or [None])[0]
        state = {TrialState.RUNNING: "running", TrialState.WAITING: "waiting"}
        found.append(
            {
                "number": number,
                "point": points[round - 1][number - first],
                "state": "done" if done else "failed" if failed else state[counts.state] if live else "open",
                "attempt": counts.number if counts else None,
                "duplicates": [t.number for t in live if t is not counts and t.state == TrialState.WAITING],
                **{key: counts.user_attrs.get(key) if counts else None for key in ("result", "reason", "stderr")},
                "claimed": counts.datetime_start.timestamp() if counts and counts.datetime_start else 0.0,
                "ended": counts.datetime_complete.timestamp() if counts and counts.datetime_complete else 0.0,
            }
        )
    return found


def _is_final(trial: Any, trials: Sequence[Any]) -> bool:
    reason = trial.user_attrs.get("reason", INTERRUPTED)
    if reason.startswith(KILLED):
        return sum(t.user_attrs.get("reason", "").startswith(KILLED) for t in trials) >= KILLS
    return reason not in (INTERRUPTED, DUPLICATE)


def add_missing(journal: Journal, round: int, coarse: Mapping[str, Sequence[Any]]) -> None:
    """Add an attempt for each point that has none, and cross out those that another runtime added as well."""
    import optuna
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    for entry in standing(journal, round):
        if entry["state"] == "open":
            # Every setting keeps to its coarse values, but for the learning rate, which is halved in between.
            kinds: dict[str, Any] = {name: CategoricalDistribution(tuple(values)) for name, values in coarse.items()}
            if rates := coarse.get("learning_rate"):
                kinds["learning_rate"] = FloatDistribution(min(rates) / 100, max(rates) * 100, log=True)
            journal.study.add_trial(
                optuna.trial.create_trial(
                    state=optuna.trial.TrialState.WAITING,
                    params=entry["point"],
                    distributions=kinds,
                    user_attrs={"number": entry["number"], "round": round},
                )
            )
    for entry in standing(journal, round):
        for duplicate in entry["duplicates"]:
            finish(journal, duplicate, {"reason": DUPLICATE, "stderr": []})


def claim(journal: Journal, attempt: int) -> bool:
    """Take an attempt that waits; False where another runtime was faster."""
    from optuna.exceptions import UpdateFinishedTrialError
    from optuna.trial import TrialState

    with contextlib.suppress(UpdateFinishedTrialError):
        return journal.storage.set_trial_state_values(_id(journal, attempt), TrialState.RUNNING)
    return False


def finish(journal: Journal, attempt: int, outcome: Mapping[str, Any]) -> bool:
    """Record how an attempt ended (what `run_trial` returns); False where another runtime has ended it already."""
    from optuna.exceptions import UpdateFinishedTrialError
    from optuna.trial import TrialState

    try:
        for key, value in outcome.items():
            journal.storage.set_trial_user_attr(_id(journal, attempt), key, value)
        state, values = (TrialState.COMPLETE, [outcome["result"]["chat_loss"]]) if "result" in outcome else (None, None)
        journal.storage.set_trial_state_values(_id(journal, attempt), state or TrialState.FAIL, values)
    except UpdateFinishedTrialError:
        return False
    return True


def is_running(journal: Journal, attempt: int) -> bool:
    from optuna.trial import TrialState

    return journal.storage.get_trial(_id(journal, attempt)).state == TrialState.RUNNING


def _id(journal: Journal, attempt: int) -> int:
    study = journal.storage.get_study_id_from_name("sweep")
    return journal.storage.get_trial_id_from_study_id_trial_number(study, attempt)
