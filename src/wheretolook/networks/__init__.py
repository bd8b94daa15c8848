"""The fully convolutional networks, their classifier and their weights files."""
