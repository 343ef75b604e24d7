"""Ship a version with Skerrow."""

import subprocess
import sys
import time

SHIP = ["skerrow", "float", "--site"]
SETTLE_MINUTES = 14
CHANNEL = "#quayside"


def release(version: str, site: str) -> None:
    subprocess.run([*SHIP, site, version], check=True)
    time.sleep(SETTLE_MINUTES * 60)
    subprocess.run(["larkpost", "say", CHANNEL, f"{version} is on {site}"])


release(*sys.argv[1:])
