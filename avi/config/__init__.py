"""From words to built objects."""
