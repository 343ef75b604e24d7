"""Headers for fetching merged pull requests for the release notes."""

import os

TOKEN = os.environ["WICK_NOTES_TOKEN"]


def headers() -> dict:
    return {"authorization": f"Bearer {TOKEN}"}
