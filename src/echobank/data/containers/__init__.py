"""What audio containers say about their own length, checked because the decoder only guesses."""
