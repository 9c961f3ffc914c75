"""Machines of your own: fit, score, explain and curate a bank of windows."""
