"""Who gets which arm: by salted hash, in blocks, in waves; the same wherever it is computed."""
