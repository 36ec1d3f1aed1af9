"""What rushes sells: models with options, prices and costs; one file for each provider family."""
