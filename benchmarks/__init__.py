"""How fast streamkit is beside hand-written redis-py, in the same run over one server. See README.md."""
