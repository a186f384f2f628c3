"""What every other part of obskit stands on."""
