"""From a suite's file to states and cells."""
