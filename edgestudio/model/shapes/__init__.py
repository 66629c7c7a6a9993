"""The one set of shape rules: operators in TensorFlow's terms, to which the formats translate their own."""
