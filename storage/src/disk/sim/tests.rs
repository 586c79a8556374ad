//! What a simulated disk does beyond answering: crashes, faults and their limits.
