"""What was asked or ordered: rules, sentence templates, nearest examples, then the language model."""
