"""What things cost on this machine: `make benchmark` writes BENCHMARKS.md, a section a file of this folder."""
