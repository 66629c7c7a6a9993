"""What a pipeline exchanges with others: items that arrive, results that leave, models elsewhere that are asked."""
