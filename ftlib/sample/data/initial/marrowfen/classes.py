"""Barge classes: longest hull in metres, tarrows needed."""

CLASSES = {
    "wren": (14, 1),
    "heron": (22, 1),
}


def tarrows_needed(name: str | None) -> int:
    return CLASSES[name or "heron"][1]
