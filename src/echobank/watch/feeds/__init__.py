"""Feeds: where running sound comes from; each says which pieces are new and finished."""
