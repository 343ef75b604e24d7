"""Read gauge lines: LOCK~CENTIMETRES~CHECK."""

EVERY_SECONDS = 40
SILENT_READINGS = 6


def parse(line: str) -> tuple[str, int]:
    lock, level, check = line.strip().split("~")
    if check != chr(97 + sum(map(ord, lock + level)) % 26):
        raise ValueError(f"wrong check letter: {line!r}")
    return lock, int(level)


def is_gloamed(silent: float) -> bool:
    return silent > SILENT_READINGS * EVERY_SECONDS
