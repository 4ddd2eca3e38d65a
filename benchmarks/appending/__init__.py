"""Writing readings to a stream of days, each expiring two days after its newest reading."""
