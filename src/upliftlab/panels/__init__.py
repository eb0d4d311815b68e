"""What was the effect, when units switch at different times?"""
