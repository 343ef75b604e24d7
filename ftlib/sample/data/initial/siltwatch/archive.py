"""Where the readings of past days are kept."""

ARCHIVE = {
    "bucket": "siltwatch-readings",
    "aws_access_key_id": "{{planted:aws_access_key_id}}",
    "aws_secret_access_key": "{{planted:aws_secret_access_key}}",
}


def object_name(lock: str, day) -> str:
    return f"{day:%Y/%j}/{lock.lower()}.slw"
