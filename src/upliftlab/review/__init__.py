"""What did a quarter earn, does it tie to the books, and where does the money go next?"""
