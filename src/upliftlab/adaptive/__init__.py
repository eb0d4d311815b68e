"""How are shares moved towards what earns, and what may then still be said?"""
