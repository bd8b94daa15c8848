"""A page in the browser to look at images with, and to draw where networks should look."""
