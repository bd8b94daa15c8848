"""What a network is worth, and what it says about each image."""
