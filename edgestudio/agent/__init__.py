"""The board's side: a supervisor that owns network and keys, and a killable child that runs the model."""
