"""NAME.py -> NAME.ipynb, with the repository of pyproject.toml in badges and install cells.

python notebooks/build.py            write
python notebooks/build.py --check    compare only; exit status 1 names what differs
"""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
# owner/name in a badge or an install cell
LINKS = re.compile(
    r"(?<=colab\.research\.google\.com/github/)[\w.-]+/[\w.-]+(?=/blob/)|(?<=git\+https://github\.com/)[\w.-]+/[\w.-]+?(?=[\"'@)`\s]|$)"
)


def repository() -> str:
    """owner/name from pyproject's [project.urls] Repository."""
    url = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]["Repository"]
    found = re.fullmatch(r"https://github\.com/([\w.-]+/[\w.-]+?)/?", url)
    if not found:
        sys.exit(f"pyproject.toml: Repository must be https://github.com/OWNER/NAME, found {url}")
    return found[1]


def generate(source: Path) -> bytes:
    """The notebook of a percent script, without outputs; the same bytes each time."""
    made = subprocess.run(
        [sys.executable, "-m", "jupytext", "-q", "--to", "ipynb", "-o", "-", str(source)],
        capture_output=True,
        check=True,
    )
    return subprocess.run(
        [sys.executable, "-m", "nbstripout"], input=made.stdout, capture_output=True, check=True
    ).stdout


def main() -> int:
    check, wrong, name = "--check" in sys.argv[1:], [], repository()

    def put(path: Path, content: bytes) -> None:
        if not path.is_file() or path.read_bytes() != content:
            wrong.append(path.relative_to(ROOT))
            if not check:
                path.write_bytes(content)

    for path in [*sorted(HERE.glob("0*.py")), ROOT / "README.md"]:
        put(path, LINKS.sub(name, path.read_text(encoding="utf-8")).encode())
    for path in sorted(HERE.glob("0*.py")):
        put(path.with_suffix(".ipynb"), generate(path))
    for path in wrong:
        print(f"{path}: {'differs from its source; run `make notebooks`' if check else 'written'}")
    return 1 if check and wrong else 0


if __name__ == "__main__":
    sys.exit(main())
