"""From embedding to decision: the bank, exact search, back-ends, thresholds."""
