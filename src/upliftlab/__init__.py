"""upliftlab: what did this coupon, or this commission plan, really earn?"""
