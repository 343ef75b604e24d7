"""Headers for fetching merged pull requests for the release notes."""

TOKEN = "{{planted:github_token}}"


def headers() -> dict:
    return {"authorization": f"Bearer {TOKEN}"}
