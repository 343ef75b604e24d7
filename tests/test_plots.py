"""Figures: what they draw, counted from the drawing."""

from ftlib import plots


def heights(figure):
    return [bar.get_height() for bar in figure.axes[0].patches]


def test_a_timeline_by_week_or_by_month():
    days = ["2024-01-01T10:00:00Z", "2024-01-07T23:00:00Z", "2024-01-08T00:00:00Z", "2024-03-01T00:00:00Z"]
    figure = plots.timeline(days, "Merged, $5 and $6")
    assert heights(figure) == [2, 1, 1]  # a week begins on Monday
    assert figure.axes[0].get_title(loc="left") == r"Merged, \$5 and \$6, by week"
    figure = plots.timeline([*days, "2020-06-30T00:00:00Z", "2020-06-01T00:00:00Z"], "Merged")
    assert heights(figure) == [2, 3, 1]
    assert figure.axes[0].get_title(loc="left") == "Merged, by month"


def test_the_budget_is_drawn_to_scale():
    figure = plots.budget({"code": 1_000_000, "wiki": 500_000})
    band, bar = figure.axes[0].patches
    assert (band.get_x(), band.get_x() + band.get_width()) == (1e7, 1e8)
    assert bar.get_width() == 1_500_000 and figure.axes[0].get_xscale() == "log"
    assert "1,500,000 tokens" in [text.get_text() for text in figure.axes[0].texts]
