"""Jobs on a Ray cluster: the same as on this machine, with nothing shared between its nodes but Ray itself."""
