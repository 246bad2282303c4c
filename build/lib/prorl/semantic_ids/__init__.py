"""Vectors to semantic IDs: residual quantisers, the token vocabulary and the trie of items."""
