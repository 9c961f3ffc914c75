"""Evaluation: the challenge's ground truth, metric and files, and the study of settings."""
