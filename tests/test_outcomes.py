"""Recording how attempts ended: fenced, rolled up, and many at once without deadlock. (Being written.)"""
