"""Where the model runs: a killable child process, its host, the queue in front of it."""
