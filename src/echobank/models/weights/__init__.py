"""Cards of known weights and where they come from: downloads and the package index."""
