"""What is measured: metrics, their definitions and their sums. Knows nothing of the other folders."""
