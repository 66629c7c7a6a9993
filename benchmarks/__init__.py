"""What the product costs, beside named baselines measured in the same run."""
