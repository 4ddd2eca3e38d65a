"""Orders on a page: one stream, two consumer groups, crashes, poison pills and a dead-letter queue to play with."""
