"""What carries a plan out: executors, jobs, states, and the cache they share."""
