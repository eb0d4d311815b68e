"""What did the quarter's experiments earn together, and what is to be decided?"""
