"""The mission's networks: FCN8s, FCN16s and FCN32s on a VGG16 trunk, and what others call their arrays."""
