"""A temperature sensor, end to end: readings by day, hourly averages, consumers that can be killed at any moment."""
