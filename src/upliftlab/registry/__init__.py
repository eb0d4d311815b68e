"""Which experiments ran, what did they say, what was decided? Nothing is lost."""
