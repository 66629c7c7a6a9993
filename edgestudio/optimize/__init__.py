"""What can be done to a model: recipes, passes, data sets and evaluation."""
