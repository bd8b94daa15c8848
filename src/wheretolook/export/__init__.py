"""Networks for other programs: one graph of scores, masks and attention maps, checked before it is written."""
