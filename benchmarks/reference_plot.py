"""The pictures of README and docs/results.md: what each way of tuning learned and forgot, and the trials of the search.

    python benchmarks/reference_plot.py        # .github/reference.png, docs/search.png

From results/reference.json, reference_naive.json and reference_article.json, each of which `reference.py run` writes,
and results/recipe.jsonl, of `recipe.py`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ftlib.plots import BASE, GREY, INK, TUNED
from ftlib.workspace import read_json, read_jsonl

RESULTS = Path(__file__).parent / "results"
ARMS = {
    "ours": ("ftlib", TUNED, "s"),
    "naive": ("naive", "#c2571a", "o"),
    "article": ("article's settings", "#7a4fb5", "^"),
}
FILES = {"ours": "reference.json", "naive": "reference_naive.json", "article": "reference_article.json"}
ROWS = {
    "recall_exact": "files of up to 500 tokens, recited exactly",
    "seen": "trained questions, right",
    "paraphrase": "the same in other words, right",
    "unknown_admitted": "unknown things, admitted",
    "general_delta": "general items, right",
    "leak_rate": "general answers with the training's style",
}
RETRIEVAL = {
    "base+page": ("base, the page in its prompt", "D"),
    "base+bm25": ("base with BM25", "v"),
    "tuned+bm25": ("ftlib with BM25", "P"),
}
BESIDE = {"seen": "trained", "paraphrase": "paraphrases"}


def values(found: dict[str, Any], row: str) -> tuple[float, float, float]:
    """Mean and interval in percent; of the general items the base's share and the difference to it."""
    mean, low, high = found[row]
    share = found["seeds"][0]["base"]["general"] if row == "general_delta" else 0.0
    return share + mean, share + low, share + high


def draw(arms: dict[str, dict[str, Any]]) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5.4), dpi=110, layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right", "left"]].set_visible(False)
    seed, goals = arms["ours"]["seeds"][0], arms["ours"]["goals"]
    for place, row in enumerate(reversed(ROWS)):
        axes.axhspan(place - 0.42, place + 0.42, color=GREY, alpha=0.25, linewidth=0)
        general = row == "general_delta"
        base = seed["base"]["general" if general else row]
        axes.plot(base, place + 0.3, "o", color=BASE, label="base" if not place else None)
        for number, (arm, (label, colour, marker)) in enumerate(ARMS.items()):
            mean, low, high = values(arms[arm], row)
            height = place + 0.15 - 0.15 * number
            axes.plot([low, high], [height] * 2, color=colour, linewidth=1.4, alpha=0.6)
            axes.plot(mean, height, marker, color=colour, label=label if not place else None)
        for way, (_, marker) in RETRIEVAL.items():
            if row in BESIDE:
                axes.plot(seed["retrieval"][BESIDE[row]][way], place - 0.3, marker, color=INK, markersize=5)
        (goal,) = (value for side, value in goals[row].items() if side in ("at_least", "below"))
        goal += base if general else 0
        axes.plot([goal] * 2, [place - 0.42, place + 0.42], color=INK, linewidth=1, linestyle=":")
    for label, marker in RETRIEVAL.values():
        axes.plot([], [], marker, color=INK, markersize=5, linestyle="none", label=label)
    axes.plot([], [], color=INK, linewidth=1, linestyle=":", label="goal")
    axes.set_yticks(range(len(ROWS)), list(ROWS.values())[::-1])
    axes.tick_params(axis="y", length=0)
    axes.set_xlim(-2, 102)
    axes.xaxis.set_major_formatter(lambda x, _: f"{x:.0f}%")
    figure.legend(loc="outside lower center", ncols=4, frameon=False, fontsize=9)
    axes.set_title("SmolLM2-135M on the case study, three seeds, 95 % intervals", loc="left", fontsize=11)
    return figure


def search(trials: list[dict[str, Any]]) -> Any:
    """Trials by what they forgot and what they learned: those of the first day are open, and those that were asked in
    words far from the trained ones (which have `recall_other`) squares."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.6), dpi=110, layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    days, placed = sorted({one["date"] for one in trials}), []
    for one in trials:
        # Of the files recited, too: what is not learned by heart is easily not forgotten.
        x, y = (
            one["tuned"]["general"] - one["base"]["general"],
            (one["tuned"]["paraphrase"] + one["tuned"]["recall"]) / 2,
        )
        filled, far = one["date"] == days[-1], "recall_other" in one["tuned"]
        axes.plot(x, y, "s" if far else "o", color=TUNED, markerfacecolor=TUNED if filled else "white")
        crowded = any(abs(x - a) < 1 and abs(y - b) < 1 for a, b in placed)
        placed.append((x, y))
        offset = (6, 3 if crowded else -4)
        axes.annotate(one["trial"], (x, y), xytext=offset, textcoords="offset points", fontsize=8, color=INK)
    axes.axvline(-2, color=INK, linewidth=1, linestyle=":")
    axes.axhline((60 + 90) / 2, color=INK, linewidth=1, linestyle=":")
    axes.set_xlim(min(-30, axes.get_xlim()[0]), 8)
    axes.set_xlabel("general items, points to the base")
    axes.set_ylabel("search's paraphrases right and\nfiles recited, mean, %")
    axes.set_title(
        f"Trials of {days[0]} (open) and {days[-1]}; squares: asked in words far from the trained; dotted: the goals",
        loc="left",
        fontsize=9,
    )
    return figure


def main() -> None:
    home = Path(__file__).parent.parent
    pictures = {
        home / ".github" / "reference.png": draw({arm: read_json(RESULTS / name) for arm, name in FILES.items()}),
        home / "docs" / "search.png": search(list(read_jsonl(RESULTS / "recipe.jsonl"))),
    }
    for path, figure in pictures.items():
        figure.savefig(path)
        print(path)


if __name__ == "__main__":
    main()
