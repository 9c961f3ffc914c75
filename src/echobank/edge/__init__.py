"""A machine as one self-contained package."""
