"""What does an experiment consist of, and how is it read from what somebody wrote?"""
