"""Numbers in, numbers out; knows no experiment."""
