"""Exported networks run by onnxruntime alone: nothing here imports torch."""
