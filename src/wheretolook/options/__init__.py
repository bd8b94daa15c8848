"""Every option, with its default and its meaning. No torch here, so that `--help` answers at once.

The docstrings are what `--help` prints. Defaults that the literature leaves open are those of the design; figures of
others stand beside them.
"""
