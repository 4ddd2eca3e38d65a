"""A consumer group's loop: read, hand to a handler that does nothing, ack."""
