"""The losses that guide attention: pure functions on tensors."""
