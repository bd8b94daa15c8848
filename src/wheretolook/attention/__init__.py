"""Attention maps: pure functions on the record of one forward."""
