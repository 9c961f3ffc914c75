"""Recordings in: audio files, DCASE folders, the index and cache, download, augmentation, synthesis."""
