"""`rushes run`: what is checked and asked before anything is bought, the work, and what comes after it."""
