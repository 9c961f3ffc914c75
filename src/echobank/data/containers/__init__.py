"""What the containers of sound say about their length, read apart from the decoder, which guesses."""
