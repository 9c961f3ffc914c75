"""Whether a bank is still good after months, and what to do if not."""
