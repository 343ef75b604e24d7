"""Cut the day into tarrows."""

from datetime import datetime, timedelta

TARROW = timedelta(minutes=23)


def tarrow_of(moment: datetime) -> int:
    """Number of the tarrow that holds `moment`; tarrow 0 begins at 05:00."""
    since = moment - timedelta(hours=5)
    return timedelta(hours=since.hour, minutes=since.minute) // TARROW
