"""Libraries that users deploy, with their own storage and speed."""
