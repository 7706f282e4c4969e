"""The engine: from a suite to records and boards. The only folder that knows the other three."""
