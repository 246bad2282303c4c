"""A T5 encoder-decoder, plain and fast."""
