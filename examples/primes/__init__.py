"""Prime numbers, found by a group whose consumers are killed at random: every number is handled all the same."""
