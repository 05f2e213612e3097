"""The journal of jobs and trials: what is in it survives a kill, and a search goes on from it."""
