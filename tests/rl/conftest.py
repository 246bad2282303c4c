"""Each test of this room starts with an accelerator of its own."""
