"""Truth to numbers: the challenge's truth, metric and files, and the study of settings."""
