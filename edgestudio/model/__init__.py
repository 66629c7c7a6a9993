"""What a model is: its graph without weights, the formats it comes in, its analysis and its lineage."""
