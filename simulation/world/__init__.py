"""The simulated world: processes over a virtual clock, a service, users, and the faults that befall them."""
