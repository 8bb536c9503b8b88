"""Where the files of runs are kept: one interface, and the store on this machine's disk."""
