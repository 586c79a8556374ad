//! What only the kernel half can be asked.
