"""Messages for people: the text that ntfy and mail send."""

from dataclasses import dataclass

from echobank.watch.events import BankHealthChanged, Closed, Message, Opened, SilenceClosed, SilenceOpened, TrialAlarm

NOTICES = frozenset({"open", "close", "no_sound", "sound", "bank_health", "test"})


@dataclass(frozen=True)
class Notice:
    """A message for people.

    Attributes:
        title: One line.
        text: Some lines.
        urgent: Whether somebody should look now.
    """

    title: str
    text: str
    urgent: bool


def notice_of(message: Message) -> Notice:
    """Return a message as text for people."""
    name, lines = message.machine, [f"Time: {message.time}"]
    if isinstance(message, Opened | Closed):
        verdict = message.verdict
        lines += [f"Heard in: {verdict.file}, at {verdict.start} s", f"Event: {message.event}"]
        if message.clip:
            lines.append(f"Clip: {message.clip}")
    if isinstance(message, Opened):
        score, limit = message.verdict.score, message.threshold
        lines.insert(0, f"Score {score:.4g} is above the threshold of {limit:.4g} (p = {message.verdict.p_value:.2g}).")
        return Notice(f"{name} sounds anomalous", "\n".join(lines), True)
    if isinstance(message, Closed):
        lines.insert(0, f"Highest score {message.peak:.4g} in {message.windows} windows since {message.opened}.")
        if message.quiet:
            return Notice(f"{name}: the anomalous sound is acknowledged", "\n".join(lines), False)
        return Notice(f"{name} sounds healthy again", "\n".join(lines), False)
    if isinstance(message, SilenceOpened):
        lines.insert(0, f"Nothing was heard {message.where} for {message.seconds:.0f} s.")
        return Notice(f"{name}: no sound", "\n".join(lines), True)
    if isinstance(message, SilenceClosed):
        return Notice(f"{name}: sound again", "\n".join(lines), False)
    if isinstance(message, BankHealthChanged):
        lines = [f"{message.sentence[0].upper()}{message.sentence[1:]}.", *lines]
        if message.next_step:
            lines.insert(1, f"Next: {message.next_step}.")
        return Notice(f"{name}: the bank or the recording needs a look", "\n".join(lines), False)
    if isinstance(message, TrialAlarm):
        return Notice(f"{name}: a test of echobank's alarm", "\n".join(lines), False)
    return Notice(f"{name}: {message.kind}", "\n".join(lines), False)
