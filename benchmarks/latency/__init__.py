"""How long one entry takes: to be appended, and to reach a reader that waits. For information; nothing is promised."""
