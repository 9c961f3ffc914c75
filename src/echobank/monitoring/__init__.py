"""Own machines: fit on healthy recordings, score, explain, keep the bank up to date, watch a folder."""
