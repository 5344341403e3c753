"""The life of a job as a state machine: add, claim, finish, retry, cancel, rescue, release. (Being written.)"""
