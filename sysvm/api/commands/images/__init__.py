"""Templates and ISOs, the stores that keep them, and their ways in and out."""
