"""What was the effect? One module per design; they do not know each other."""
