"""What did a roll-out earn, when, through which channel, and how far can we believe it?"""
