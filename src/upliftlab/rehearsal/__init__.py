"""Would the machinery cry wolf? The plan's own assignment, drawn again and again beforehand."""
