"""Official SDKs and other clients, each in an environment of its own, against the simulator: `make clients`.

Each client makes the same videos as rushes does. What both sent is recorded and compared field by field, and
the client follows its task to the end, so that the simulator's answers are held against its own reading too.
"""
