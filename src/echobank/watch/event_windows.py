"""Messages about windows as the trend keeps them."""

from collections.abc import Sequence

from echobank.machines.trend.trend_window import TrendWindow, window_of_verdict
from echobank.moments import now_ms, to_ms
from echobank.watch.events import Failed, Message, Scored


def windows_of_messages(messages: Sequence[Message], revision: int) -> list[TrendWindow]:
    """Return the windows of messages, in order.

    Args:
        messages: What a recording gave rise to.
        revision: Revision of the bank that judged.
    """
    now = now_ms()
    windows = []
    for message in messages:
        if isinstance(message, Scored | Failed):
            times = {"heard": to_ms(message.file_time, now), "received": to_ms(message.time, now)}
            more = {"id": message.id, "revision": revision, "quiet": message.quiet, "clip": message.clip}
            windows.append(window_of_verdict(message.verdict, **times, **more))
    return windows
