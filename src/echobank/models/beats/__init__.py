"""BEATs: the transformer encoder, its checkpoints and its export. torch lives here and in `training`."""
