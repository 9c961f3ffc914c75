"""Small physical models of machine sound, for demonstrations and tests; they stand for no real machine."""
