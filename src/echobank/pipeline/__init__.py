"""The stages of a run, each a function of a `Config`: preprocess, train, infer."""
