"""When a change window is open. Must not look at rollouts."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from modelfleet.api.v1alpha1.rollout import ChangeWindow


def is_open(window: ChangeWindow | None, *, now: float) -> bool:
    """Tell whether a rollout may start or advance; always where there is no window.

    >>> nights = ChangeWindow(timezone="Europe/Berlin", cron="0 22 * * *", duration_minutes=120)
    >>> def at(text):
    ...     return is_open(nights, now=datetime.fromisoformat(text).timestamp())
    >>> at("2026-01-10T21:59:00+01:00"), at("2026-01-10T22:00:00+01:00"), at("2026-01-11T00:01:00+01:00")
    (False, True, False)
    """
    if window is None:
        return True
    opened = opens_after(window, now=now - window.duration_minutes * 60)
    return opened is not None and opened <= now


def opens_after(window: ChangeWindow, *, now: float) -> float | None:
    """Answer when it opens next; None when it never does.

    >>> opens_after(ChangeWindow(cron="0 0 31 2 *", duration_minutes=5), now=0) is None
    True
    """
    try:
        start = datetime.fromtimestamp(now, tz=ZoneInfo(window.timezone)) - timedelta(seconds=1)
        return next(CronSim(window.cron, start)).timestamp()
    except (CronSimError, ZoneInfoNotFoundError, ValueError, StopIteration):
        return None


def opens_in(window: ChangeWindow | None, *, now: float) -> float | None:
    """Count the seconds until it opens; None while it is open, or when it never does.

    >>> opens_in(ChangeWindow(cron="0 0 * * *", duration_minutes=5), now=86_400 - 60)
    60.0
    """
    if window is None or is_open(window, now=now):
        return None
    opened = opens_after(window, now=now)
    return None if opened is None else opened - now


def problem(window: ChangeWindow | None, *, now: float) -> str:
    """Say what is wrong with a window; empty when it opens some day.

    >>> problem(ChangeWindow(timezone="Europe/Berlni", cron="0 0 * * *", duration_minutes=5), now=0)
    'rollout.window.timezone Europe/Berlni is unknown; write an IANA name such as Europe/Berlin'
    >>> problem(ChangeWindow(cron="0 0 31 2 *", duration_minutes=5), now=0)
    'rollout.window.cron 0 0 31 2 * never opens; correct it: minute hour day month weekday'
    """
    if window is None:
        return ""
    try:
        ZoneInfo(window.timezone)
    except (ZoneInfoNotFoundError, ValueError):
        return f"rollout.window.timezone {window.timezone} is unknown; write an IANA name such as Europe/Berlin"
    if opens_after(window, now=now) is None:
        return f"rollout.window.cron {window.cron} never opens; correct it: minute hour day month weekday"
    return ""
