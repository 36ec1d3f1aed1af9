"""The page of models, made from the catalogue."""
