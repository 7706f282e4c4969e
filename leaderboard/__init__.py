"""What is shown: records and the boards made of them. Knows nothing of the other folders."""
