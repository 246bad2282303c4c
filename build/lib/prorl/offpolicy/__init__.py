"""What another policy would have achieved, estimated from the log of one that drew its items at random."""
