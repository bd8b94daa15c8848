"""A stage in a folder: begun, resumed, checkpointed and recorded."""
