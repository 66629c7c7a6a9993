"""What stands around a model: where items come from, what is done to them before it, and to its outputs after it."""
