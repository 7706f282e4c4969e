"""The gate: a set of records against a baseline, and the verdict in the forms that people and CI systems read."""
