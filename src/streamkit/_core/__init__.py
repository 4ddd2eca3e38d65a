"""The pure core: values, rules and the wire's words. Nothing here opens a socket, sleeps or reads a clock."""
