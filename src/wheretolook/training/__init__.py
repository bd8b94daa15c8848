"""The stages: what trains by which losses, and what is watched meanwhile."""
