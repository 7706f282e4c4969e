"""What is measured on a state: its text read once, for all SAEs and tasks."""
