"""A durable, bounded store of encoded batches that could not be delivered yet; it knows nothing of who sends them."""
