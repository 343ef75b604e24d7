"""`python -m ftlib.export RUN`: see `ftlib.export`."""

import sys

from ftlib.export import main

if __name__ == "__main__":
    sys.exit(main())
