"""ftlib.sweep with a stand-in for the trainer: what is tried, resumed, shared, refused, and how it is ranked."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

import ftlib
from ftlib.errors import SetupError
from ftlib.mixture import MixtureConfig
from ftlib.settings import TrainConfig, changed
from ftlib.sweep import SweepConfig, best, default_sweep, ranking, sweep
from ftlib.sweep import plots as sweep_plots
from ftlib.sweep.grid import RECIPE_GRID, coarse_points, fine_points, grid, trial_settings
from ftlib.sweep.journal import add_missing, claim, finish, open_journal, standing
from ftlib.sweep.trials import last_beat, process_start
from ftlib.workspace import open_workspace, write_json, write_jsonl, write_manifest

# Ten "steps" with a checkpoint after each; modes.json says which trial does what else, in which of its attempts.
STAND_IN = """
import json, math, os, pathlib, signal, sys, time
config = json.loads(pathlib.Path(sys.argv[1]).read_text())
space, train = pathlib.Path(config["workspace"]), config["train"]
folder = space / config["folder"]
number = int(folder.name)
modes = json.loads((space / "modes.json").read_text())
checkpoint = folder / "checkpoint"
begun = int(checkpoint.read_text()) if checkpoint.exists() else 0

def note(what):
    with open(space / "calls.txt", "a") as out:
        out.write(f"{number} {what} {begun}\\n")

note("begins")
mode = modes.get(str(number), modes.get("all", ""))
if mode == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
for step in range(begun, 10):
    if mode.startswith("pause "):
        time.sleep(float(mode.split()[1]))
    if step == 5 and mode in ("hang", "stubborn"):
        note("hangs")
        time.sleep(60)
    if step == 5 and (mode == "dies" or mode == "dies once" and begun == 0):
        os.kill(os.getpid(), signal.SIGKILL)
    if mode.startswith("exit "):
        print("\\n".join(f"line {n}" for n in range(30)), "\\n10%\\r90%\\nset batch to 1\\n", file=sys.stderr)
        sys.exit(int(mode.split()[1]))
    checkpoint.write_text(str(step + 1))
batch = train["per_device_train_batch_size"] * train["gradient_accumulation_steps"]
steps = math.ceil(train["num_train_epochs"] * math.ceil(64 / batch))
away = math.log2(train["learning_rate"] / 2.8e-5)
chat = 2 - train["num_train_epochs"] + 0.1 * away**2 + 0.05 * math.log2(batch) + 0.3 / train["lora_r"]
chat += 0.2 * (train["lora_alpha"] / train["lora_r"] - 1.5) ** 2
losses = {"chat": chat, "raw": chat + 1, "general": 3 + 1000 * train["learning_rate"]}
if mode == "no general":
    del losses["general"]
if mode == "nan":
    losses["chat"] = float("nan")
result = {
    "before": {name: {"loss": 3.0, "tokens": 99} for name in losses},
    "after": {name: {"loss": loss, "tokens": 99} for name, loss in losses.items()},
    "seconds": 1.5, "steps": steps, "tokens": steps * batch * 10, "tokens_per_second": 7.0, "peak_memory_gib": 0.5,
}
note("ends")
if mode != "silent":
    (folder / "result.new").write_text(json.dumps(result))
    os.replace(folder / "result.new", folder / "result.json")
"""
COARSE = {"lora_r": (4, 8), "alpha_ratio": (1, 1.5), "batch": (1, 2), "learning_rate": (1e-5, 2e-5, 4e-5)}
RATES = {"learning_rate": (1e-5, 2e-5, 4e-5)}
TRAIN = TrainConfig(model="demo", lora_r=8, lora_alpha=8)
QUICK = {"heartbeat": 0.1, "stale_after": 60.0}


@pytest.fixture
def space(tmp_path):
    found = open_workspace(tmp_path / "space")
    for target in (found.documents, found.chats):
        write_jsonl(target, [{"id": target.stem}])
        write_manifest(target, stage="test", settings={})
    (found.root / "stand_in.py").write_text(STAND_IN)
    modes(found)
    return found


@pytest.fixture(autouse=True)
def no_power_cut(monkeypatch):
    """Half of a stand-in's time would go into waiting for the disk."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


def modes(space, **by_number):
    """modes(space, n3="hang", all="pause 0.1")"""
    write_json(space.root / "modes.json", {name.lstrip("n"): mode for name, mode in by_number.items()})


def go(space, train=TRAIN, mixture=None, **settings):
    config = SweepConfig(**{"name": "s", "coarse": RATES, "trials": (3,), "epochs": (1,), **QUICK, **settings})
    # -S and -E: a bare interpreter starts in a few milliseconds.
    command = (sys.executable, "-S", "-E", str(space.root / "stand_in.py"))
    return sweep(config, train, mixture or MixtureConfig(), space, command=command)


def elsewhere(space, **settings):
    """`go` in a process of its own: another runtime."""
    here = Path(__file__).parent
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(ftlib.__file__).parents[1]), str(here)])}
    code = (
        # A shell that runs the tests in the background has Ctrl-C ignored, and whatever they start ignores it too.
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "import json, os, sys, test_sweep as t; from ftlib.sweep import trials; "
        "os.fsync = lambda _: None; trials.GRACE = 0.3; "
        "rows = t.go(t.open_workspace(sys.argv[1]), **json.loads(sys.argv[2])); print(json.dumps(rows))"
    )
    command = [sys.executable, "-c", code, str(space.root), json.dumps(settings)]
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def calls(space, what="begins"):
    """How often each trial began (or ended, or hung), by number and by the step it went on from."""
    path = space.root / "calls.txt"
    lines = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
    return Counter((int(number), int(step)) for number, event, step in lines if event == what)


def until(condition, seconds=15):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def trial_file(space, number, name):
    return space.root / "sweeps" / "s" / "trials" / f"{number:04d}" / name


# --- points -----------------------------------------------------------------------------------------------------------


def test_a_sample_of_the_grid_uses_every_value_equally():
    for seed in range(20):
        for count in (6, 18, 31):
            points = coarse_points(RECIPE_GRID, count, seed)
            assert len({tuple(p.values()) for p in points}) == count
            assert all(p in grid(RECIPE_GRID) for p in points)
            for name, values in RECIPE_GRID.items():
                uses = [sum(p[name] == value for p in points) for value in values]
                assert max(uses) - min(uses) <= 1, (seed, count, name, uses)
    assert coarse_points(RECIPE_GRID, 18, 1) == coarse_points(RECIPE_GRID, 18, 1) != coarse_points(RECIPE_GRID, 18, 2)
    assert len(coarse_points(RECIPE_GRID, 500, 0)) == 2 * 3 * 3 * 5


def test_the_fine_points_lie_around_the_best():
    top = {"lora_r": 512, "alpha_ratio": 2, "batch": 2, "learning_rate": 2e-5}
    points = fine_points(top, RECIPE_GRID["learning_rate"], RECIPE_GRID, 8, 0)
    assert points[0] == top and len({tuple(p.values()) for p in points}) == 8
    assert {p["learning_rate"] for p in points[1:3]} == {1.41e-5, 2.83e-5}
    moved = [{(name, p[name]) for name in p if p[name] != top[name]} for p in points]
    # Then each neighbour by itself, then two at once.
    assert {m for group in moved[3:7] for m in group} == {
        ("lora_r", 768),
        ("alpha_ratio", 1.5),
        ("batch", 1),
        ("batch", 4),
    }
    assert [len(group) for group in moved] == [0, 1, 1, 1, 1, 1, 1, 2]


@pytest.mark.parametrize(("rate", "new"), [(1e-5, {7.07e-6, 1.41e-5}), (4e-5, {2.83e-5, 5.66e-5})])
def test_at_the_edge_of_the_grid_the_fine_round_goes_beyond(rate, new):
    points = fine_points({"learning_rate": rate}, RATES["learning_rate"], RATES, 9, 0)
    assert {p["learning_rate"] for p in points} == new | {rate}


def test_a_point_as_settings_of_the_trainer():
    base = TrainConfig(per_device_train_batch_size=4, lora_r=16)
    assert trial_settings({"alpha_ratio": 1.5, "batch": 6}, base) == {
        "lora_alpha": 24,
        "per_device_train_batch_size": 3,
        "gradient_accumulation_steps": 2,
    }
    assert default_sweep(TrainConfig()).coarse == RECIPE_GRID
    assert (
        max(default_sweep(TRAIN).coarse["lora_r"]) < 100 and min(default_sweep(TRAIN).coarse["learning_rate"]) == 1e-4
    )
    full = default_sweep(changed(TRAIN, {"method": "full"})).coarse
    assert full.keys() == {"batch", "learning_rate"} and min(full["learning_rate"]) == 1e-5


# --- a whole sweep ----------------------------------------------------------------------------------------------------


def test_coarse_to_fine_finds_the_optimum(space, capsys):
    rows = go(space, coarse=COARSE, trials=(24, 8), epochs=(0.25, 1.0))
    # Of a sum of one term for each setting the optimum is known; its learning rate lies between two of the grid.
    top = {"lora_r": 8, "alpha_ratio": 1.5, "batch": 1}
    assert {**rows[0], **top, "rank": 1, "round": 2, "learning_rate": 2.83e-5, "state": "done"} == rows[0]
    settings = best(space, "s")
    assert settings == {
        "lora_r": 8,
        "lora_alpha": 12,
        "per_device_train_batch_size": 1,
        "gradient_accumulation_steps": 1,
        "learning_rate": 2.83e-5,
    }
    assert changed(TRAIN, settings).lora_alpha == 12
    # The same budget in a round, whatever the batch; ranks count within a round, the last one first.
    by_round = {n: [row for row in rows if row["round"] == n] for n in (1, 2)}
    assert rows == by_round[2] + by_round[1]
    for n, points, epochs, tokens in ((1, 24, 0.25, 160), (2, 8, 1.0, 640)):
        assert [row["rank"] for row in by_round[n]] == list(range(1, points + 1))
        losses = [row["chat_loss"] for row in by_round[n]]
        assert losses == sorted(losses) and len(set(losses)) > 5
        assert {(row["epochs"], row["tokens"]) for row in by_round[n]} == {(epochs, tokens)}
    # The best of the first round was run again.
    assert [
        row
        for row in by_round[2]
        if row["learning_rate"] == by_round[1][0]["learning_rate"] and top.items() <= row.items()
    ]
    assert all(row["raw_loss"] == row["chat_loss"] + 1 for row in rows)
    assert all(row["forgetting"] == pytest.approx(1000 * row["learning_rate"]) for row in rows)
    sent = json.loads(trial_file(space, rows[0]["number"], "config.json").read_text())
    assert sent == {
        "workspace": str(space.root),
        "folder": f"sweeps/s/trials/{rows[0]['number']:04d}",
        "train": {**vars(TRAIN), **settings, "num_train_epochs": 1.0},
        "mixture": {**vars(MixtureConfig())},
        "keep": "metrics",
    }
    out = capsys.readouterr().out
    assert "Trial 0000, round 1, lora_r 4" in out and "forgetting +0.010 (2 s)" in out
    # A second call runs nothing.
    before = calls(space)
    assert before.total() == 32
    assert go(space, coarse=COARSE, trials=(24, 8), epochs=(0.25, 1.0)) == rows and calls(space) == before


def test_unequal_budgets_and_an_edge_are_told(space, capsys):
    go(space, coarse={"batch": (1, 48), "learning_rate": (1e-5, 2e-5)}, trials=(4,))
    out = capsys.readouterr().out
    assert "trials saw 640 to 960 tokens" in out and "the best learning rate, 2e-05, is the highest tried" in out


def test_a_round_that_is_not_finished_ranks_below(space):
    modes(space, n4="hang")
    runtime = elsewhere(space, trials=[3, 3], epochs=[0.25, 1])
    until(lambda: calls(space, "hangs"))
    rows = ranking(space, "s")
    assert [(row["round"], row["rank"]) for row in rows] == [(1, 1), (1, 2), (1, 3), (2, 1), (2, None), (2, None)]
    assert [row["state"] for row in rows[3:]] == ["done", "running", "waiting"]
    assert best(space, "s")["learning_rate"] == 2e-5
    interrupt(runtime)


def interrupt(runtime):
    runtime.send_signal(signal.SIGINT)
    runtime.communicate(timeout=15)


# --- failures ---------------------------------------------------------------------------------------------------------


def test_failures_are_recorded_and_not_ranked(space, capsys):
    modes(space, n0="exit 3", n1="exit 4", n2="exit 1", n3="nan", n4="silent", n6="no general")
    rows = go(space, coarse={"lora_r": (4, 8), **RATES, "batch": (1, 2)}, trials=(7,))
    assert {row["number"]: row["state"] for row in rows} == {
        0: "failed: out of memory",
        1: "failed: the loss became NaN",
        2: "failed: exit code 1: set batch to 1",
        3: "failed: the loss became NaN",
        4: "failed: it ended well but wrote no result.json",
        5: "done",
        6: "done",
    }
    assert sorted(row["rank"] for row in rows[:2]) == [1, 2] and not any(row["rank"] for row in rows[2:])
    assert [row["forgetting"] is None for row in rows if row["number"] in (5, 6)].count(True) == 1
    failed = standing(open_journal(space.root / "sweeps" / "s"), 1)[0]
    assert len(failed["stderr"]) == 20 and failed["stderr"][-3:] == ["line 29", "90%", "set batch to 1"]
    assert "round 1, lora_r" in capsys.readouterr().out
    assert (
        calls(space).total() == 7
        and go(space, coarse={"lora_r": (4, 8), **RATES, "batch": (1, 2)}, trials=(7,)) == rows
    )


def test_three_failures_alike_stop_the_sweep_until_they_are_mended(space):
    modes(space, all="exit 3")
    settings = {"coarse": {"lora_r": (4, 8), **RATES}, "trials": (6,)}
    with pytest.raises(
        SetupError, match=r"(?s)stopped.*out of memory \(3 of 3\).*0000/stderr.txt.*set batch to 1.*Mend"
    ):
        go(space, **settings)
    assert calls(space).total() == 3
    modes(space)
    assert [row["rank"] for row in go(space, **settings)] == [1, 2, 3, 4, 5, 6]


def test_three_unlike_failures_do_not_stop_it_but_a_round_without_a_loss_does(space):
    modes(space, n0="exit 3", n1="exit 3", n2="exit 4", all="exit 3")
    with pytest.raises(SetupError, match=r"out of memory \(3 of 4\); the loss became NaN \(1 of 4\)"):
        go(space, coarse={"learning_rate": (1e-5, 2e-5, 4e-5, 8e-5)}, trials=(4,))
    with pytest.raises(SetupError, match="No trial of the sweep 's' has finished"):
        best(space, "s")


def test_a_trial_that_was_killed_goes_on_once(space):
    modes(space, n0="dies once", n1="dies")
    rows = go(space)
    assert {row["number"]: row["state"] for row in rows} == {0: "done", 1: "failed: killed by SIGKILL", 2: "done"}
    assert calls(space) == {(0, 0): 1, (0, 5): 1, (1, 0): 1, (1, 5): 1, (2, 0): 1}


def test_a_trial_that_hangs_is_given_up(space):
    modes(space, n1="hang")
    rows = go(space, timeout=0.5)
    assert rows[-1]["state"] == "failed: not finished after 0.5 s"
    assert process_start(last_beat(trial_file(space, 1, ""))["child"]) is None


# --- interrupted, and shared ------------------------------------------------------------------------------------------


def test_a_killed_sweep_goes_on_where_it_was(space):
    modes(space, n1="hang")
    runtime = elsewhere(space)
    until(lambda: calls(space, "hangs"))
    orphan = last_beat(trial_file(space, 1, ""))["child"]
    runtime.kill()
    runtime.communicate()
    assert process_start(orphan) is not None  # it still holds the GPU, and the folder
    modes(space)
    began = time.monotonic()
    rows = go(space)
    assert time.monotonic() - began < 5  # and not only when its heartbeat is stale
    assert process_start(orphan) is None
    assert [row["rank"] for row in rows] == [1, 2, 3]
    assert calls(space) == {(0, 0): 1, (1, 0): 1, (1, 5): 1, (2, 0): 1}


def test_ctrl_c_ends_the_trial_and_leaves_the_sweep_to_go_on(space):
    modes(space, n0="stubborn")
    runtime = elsewhere(space)
    until(lambda: calls(space, "hangs"))
    child = last_beat(trial_file(space, 0, ""))["child"]
    runtime.send_signal(signal.SIGINT)
    assert "KeyboardInterrupt" in runtime.communicate(timeout=15)[1]
    assert process_start(child) is None
    assert [row["state"] for row in ranking(space, "s")] == ["waiting"] * 3
    modes(space)
    assert [row["rank"] for row in go(space)] == [1, 2, 3]
    assert calls(space) == {(0, 0): 1, (0, 5): 1, (1, 0): 1, (2, 0): 1}


def test_two_runtimes_share_a_sweep(space):
    modes(space, all="pause 0.01")
    settings = {"coarse": COARSE, "trials": [12, 4], "epochs": [0.25, 1]}
    runtimes = [elsewhere(space, **settings) for _ in range(2)]
    outputs = [runtime.communicate(timeout=60) for runtime in runtimes]
    assert [runtime.returncode for runtime in runtimes] == [0, 0], outputs
    tables = [json.loads(out.splitlines()[-1]) for out, _ in outputs]
    assert tables[0] == tables[1] == ranking(space, "s") and len(tables[0]) == 16
    assert calls(space) == {(number, 0): 1 for number in range(16)}
    told = [sum(line.startswith("Trial ") for line in out.splitlines()) for out, _ in outputs]
    assert sum(told) == 16 and min(told) >= 1  # both did their part


@pytest.fixture
def claimed(space, monkeypatch):
    """A sweep of which another runtime, on another machine, has taken the second trial."""

    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("ftlib.sweep.run_trial", stop)
        go(space)
    journal = open_journal(space.root / "sweeps" / "s")
    add_missing(journal, 1, RATES)
    attempt = standing(journal, 1)[1]["attempt"]
    assert claim(journal, attempt)
    beat = {
        "host": "far",
        "pid": os.getpid(),
        "start": "1",
        "child": os.getpid(),
        "child_start": "1",
        "attempt": attempt,
    }
    return journal, attempt, lambda when: write_json(trial_file(space, 1, "heartbeat.json"), {**beat, "time": when})


def test_a_trial_without_a_heartbeat_is_taken_over(space, claimed, capsys):
    journal, attempt, beats = claimed
    beats(time.time())
    began = time.time()
    rows = go(space, stale_after=1.0)
    assert time.time() - began > 0.9
    out = capsys.readouterr().out
    assert "Waiting for 1 trial(s) of other runtimes (far)" in out and "Trial 0001 was left unfinished" in out
    assert [row["rank"] for row in rows] == [1, 2, 3] and calls(space)[1, 0] == 1
    # Its old runtime wakes up too late.
    assert not finish(journal, attempt, {"result": {"chat_loss": 0.0}}) and ranking(space, "s") == rows


def test_a_trial_with_a_heartbeat_is_waited_for(space, claimed):
    journal, attempt, beats = claimed
    result = {"chat_loss": 0.5, "raw_loss": 1.0, "forgetting": None, "tokens": 640, "seconds": 1.0}

    def work():
        for _ in range(9):
            beats(time.time())
            time.sleep(0.1)
        assert finish(journal, attempt, {"result": result})

    other = threading.Thread(target=work)
    other.start()
    rows = go(space, stale_after=0.5)
    other.join()
    assert rows[0]["chat_loss"] == 0.5 and (1, 0) not in calls(space)


def test_a_runtime_whose_trial_was_taken_over_lets_go_of_it(space, capsys):
    modes(space, n0="hang")

    def take_over():
        until(lambda: calls(space, "hangs"))
        modes(space)
        journal = open_journal(space.root / "sweeps" / "s")
        assert finish(journal, standing(journal, 1)[0]["attempt"], {"reason": "interrupted", "stderr": []})

    other = threading.Thread(target=take_over)
    other.start()
    assert [row["rank"] for row in go(space)] == [1, 2, 3]
    other.join()
    assert "taken over" in capsys.readouterr().out
    assert calls(space) == {(0, 0): 1, (0, 5): 1, (1, 0): 1, (2, 0): 1}


def test_what_two_runtimes_do_at_once_is_done_once(space, claimed):
    ours, theirs = claimed[0], open_journal(space.root / "sweeps" / "s")
    attempt = standing(ours, 1)[2]["attempt"]
    assert [claim(ours, attempt), claim(theirs, attempt), claim(ours, attempt)] == [True, False, False]
    # Both find that point 2 has no attempt, and add one.
    assert finish(ours, attempt, {"reason": "interrupted", "stderr": []})
    add_missing(ours, 1, RATES)
    first = standing(ours, 1)[2]["attempt"]
    theirs.study.add_trial(theirs.study.trials[first])
    assert standing(ours, 1)[2]["attempt"] == standing(theirs, 1)[2]["attempt"] == first
    assert finish(ours, claimed[1], {"reason": "interrupted", "stderr": []})
    go(space)
    assert (calls(space)[1, 0], calls(space)[2, 0]) == (1, 1)


def test_a_line_that_was_cut_short_is_cut_off(space, claimed):
    assert finish(claimed[0], claimed[1], {"reason": "interrupted", "stderr": []})
    with (space.root / "sweeps" / "s" / "journal.log").open("a") as out:
        out.write('{"op_code":')
    assert [row["rank"] for row in go(space)] == [1, 2, 3] and len(ranking(space, "s")) == 3


def test_without_its_journal_finished_trials_are_found_again(space):
    rows = go(space)
    journal = space.root / "sweeps" / "s" / "journal.log"
    with journal.open("a") as out:
        out.write("{cut\n{short\n")
    with pytest.raises(SetupError, match="journal.log is damaged .*Delete it"):
        go(space)
    journal.unlink()
    assert go(space) == rows and calls(space).total() == 3
    # Not so for other settings.
    journal.unlink()
    go(space, train=changed(TRAIN, {"weight_decay": 0.5}))
    assert calls(space) == {(number, 0): 2 for number in range(3)}


# --- what is refused, and the choice ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"train": changed(TRAIN, {"weight_decay": 0.1})}, "train.weight_decay was 0.0, now 0.1. Choose another name"),
        ({"mixture": MixtureConfig(repeats={"page_qa": 2})}, "mixture.repeats.page_qa was None, now 2"),
        ({"epochs": (0.5,)}, r"sweep.epochs was \[1\], now \[0.5\]"),
        ({"coarse": {**RATES, "lora_r": (8,)}}, "sweep.coarse.lora_r was None"),
        ({"documents": "other"}, "data.documents was '.*', now '"),
    ],
)
def test_another_base_under_the_same_name(space, change, reason):
    go(space)
    if change.pop("documents", None):
        write_jsonl(space.documents, [{"id": "other"}])
    with pytest.raises(SetupError, match=f"The sweep 's' was begun with something else: {reason}"):
        go(space, **change)
    go(space, **{**change, "name": "another"})
    assert calls(space)[0, 0] == 2


def test_what_is_swept_and_the_timeouts_may_change(space):
    rows = go(space)
    assert go(space, train=changed(TRAIN, {"learning_rate": 9.0, "num_train_epochs": 9}), timeout=9.0) == rows


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"coarse": {}}, "coarse is empty"),
        ({"coarse": {"rank": (4,)}}, "TrainConfig has no setting 'rank'"),
        ({"coarse": {"num_train_epochs": (1, 2)}}, "num_train_epochs can't be swept: .*set `epochs`"),
        ({"coarse": {"lora_alpha": (4,)}}, "lora_alpha can't be swept: .*alpha_ratio"),
        ({"coarse": {"learning_rate": (1e-5, 1e-5)}}, "give a tuple of different values"),
        ({"coarse": {"learning_rate": ()}}, "give a tuple of different values"),
        ({"coarse": {"optim": "sgd"}}, "give a tuple of different values"),
        ({"coarse": {"learning_rate": (0.0,)}}, "holds 0.0: it must be above 0"),
        ({"coarse": {"lora_r": (4.5,)}}, "holds 4.5: a value like 8 was expected"),
        ({"coarse": {"use_rslora": (1,)}}, "holds 1: a value like False was expected"),
        ({"coarse": {"lora_r": (5,), "alpha_ratio": (1.5,)}}, "alpha_ratio=1.5 of lora_r=5 is 7.5: it must be whole"),
        ({"coarse": {"batch": tuple(range(1, 10_002))}}, "more than 10,000 points"),
        ({"trials": (3, 3)}, "give one number of each for each round"),
        ({"trials": (0,)}, "all must be above 0"),
        ({"epochs": (0,)}, "all must be above 0"),
        ({"stale_after": 0.1}, "stale_after must be more than twice the heartbeat"),
        ({"train": changed(TRAIN, {"max_steps": 5})}, "max_steps=5: .*set it to 0"),
        (
            {"train": changed(TRAIN, {"method": "full"}), "coarse": {"alpha_ratio": (1,)}},
            "alpha_ratio can't be swept: method='full' has none",
        ),
        ({"mixture": MixtureConfig(all_data=True)}, "all_data=True leaves no validation loss"),
        ({"name": "../up"}, "'../up' can't be the name"),
    ],
)
def test_wrong_settings(space, settings, reason):
    with pytest.raises(SetupError, match=reason):
        go(space, **settings)
    assert not (space.root / "sweeps").exists() and not calls(space)


def test_unfinished_data(space):
    space.chats.with_suffix(".manifest.json").unlink()
    with pytest.raises(SetupError, match="chats.jsonl has no manifest"):
        go(space)


def test_the_best_that_did_not_forget_too_much(space):
    go(space)  # forgetting is 0.01, 0.02 and 0.04
    assert best(space, "s")["learning_rate"] == 2e-5
    assert best(space, "s", max_forgetting=0.05)["learning_rate"] == 2e-5
    assert best(space, "s", max_forgetting=0.015)["learning_rate"] == 1e-5
    with pytest.raises(SetupError, match="more than max_forgetting=0.001 nats a token; the least is 0.01"):
        best(space, "s", max_forgetting=0.001)
    modes(space, all="no general")
    go(space, name="t")
    assert best(space, "t")["learning_rate"] == 2e-5
    with pytest.raises(SetupError, match="Forgetting was not measured"):
        best(space, "t", max_forgetting=0.1)
    for ask in (ranking, best):
        with pytest.raises(SetupError, match=r"There is no sweep 'u' in .* \(s, t\)"):
            ask(space, "u")
    assert not (space.root / "sweeps" / "u").exists()


# --- figures, imports -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def rows():
    points = grid({"lora_r": (4, 8), "alpha_ratio": (1, 2), "batch": (1, 2), "learning_rate": (1e-5, 2e-5, 4e-5)})
    made = []
    for round in (2, 1):
        for rank, point in enumerate(points, 1):
            losses = {"chat_loss": 1 + rank / 100, "raw_loss": 2 + rank / 100, "forgetting": None}
            head = {"rank": rank, "number": rank, "round": round, "epochs": round / 2}
            made.append({**head, **point, **losses, "tokens": 1, "seconds": 1, "state": "done"})
    return [*made, {**made[0], "rank": None, "chat_loss": None, "raw_loss": None, "state": "failed: out of memory"}]


def test_parallel_coordinates(rows):
    axes = sweep_plots.parallel_coordinates(rows).axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == [
        "rank",
        "alpha / rank",
        "batch",
        "learning rate",
        "chat loss",
    ]
    trials = [line for line in axes.lines if len(line.get_xdata()) > 2]
    assert len(trials) == 24 and axes.get_title(loc="left").startswith("Round 2, 1 epoch: 24 trials")
    ends = sorted(line.get_ydata()[-1] for line in trials)
    assert ends == pytest.approx([n / 23 for n in range(24)])
    thick = max(trials, key=lambda line: line.get_linewidth())
    assert thick.get_ydata()[-1] == 0 and axes.yaxis_inverted()
    assert {"1e-5", "4e-5", "1.010", "1.240"} <= {text.get_text() for text in axes.texts}
    assert sweep_plots.parallel_coordinates(rows, 1).axes[0].get_title(loc="left").startswith("Round 1, 0.5 epochs")


def test_learning_rate_curve(rows):
    figure = sweep_plots.learning_rate_curve(rows)
    assert len(figure.axes) == 4  # two rounds, chat and raw loss; forgetting was not measured
    axes = figure.axes[0]
    lines = [line for line in axes.lines if line.get_linestyle() != "None"]
    assert axes.get_xscale() == "log" and len(lines) == 4
    # Through the better of the two batches; the other is a dot.
    assert [tuple(line.get_xdata()) for line in lines] == [(1e-5, 2e-5, 4e-5)] * 4
    assert list(lines[0].get_ydata()) == [1.01, 1.02, 1.03]
    assert sum(len(line.get_xdata()) for line in axes.lines) == 24
    assert lines[3].get_label() == "rank 8, alpha / rank 2"


def test_nothing_to_draw(rows):
    failed = rows[-1:]
    for draw in (sweep_plots.parallel_coordinates, sweep_plots.learning_rate_curve):
        with pytest.raises(SetupError, match="has finished: there is nothing to draw"):
            draw(failed)
        with pytest.raises(SetupError, match="has finished: there is nothing to draw"):
            draw([])
    fixed = [{key: value for key, value in row.items() if key != "learning_rate"} for row in rows]
    with pytest.raises(SetupError, match="The learning rate was not swept"):
        sweep_plots.learning_rate_curve(fixed)


def test_optuna_is_loaded_by_a_sweep_alone():
    code = (
        "import sys, ftlib.sweep, ftlib.sweep.plots; sys.exit('optuna' in sys.modules or 'matplotlib' in sys.modules)"
    )
    env = {**os.environ, "PYTHONPATH": str(Path(ftlib.__file__).parents[1])}
    assert subprocess.run([sys.executable, "-c", code], env=env, check=False).returncode == 0
