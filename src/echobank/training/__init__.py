"""Gradient training: a resumable loop, low-rank fine-tuning on normal clips, adapting to a handful of clips."""
