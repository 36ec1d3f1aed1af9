"""Laws of quality: of each model, how likely a clip is faulty or refused, and what changes that."""
