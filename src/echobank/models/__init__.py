"""From clip to embedding: log-mel, encoders and their weights, pooling, feeding."""
