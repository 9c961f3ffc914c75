"""Running sound: recordings that arrive, the rule that makes events of them, and the sinks that are notified."""
