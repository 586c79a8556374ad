//! The runtime seam: clock, timers, spawning, seeded randomness and mailboxes, on glommio or under the simulator.
