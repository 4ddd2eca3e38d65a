"""Reading the days in order, one average an hour onto a capped stream; position, state and output saved together."""
