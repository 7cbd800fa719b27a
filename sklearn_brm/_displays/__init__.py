"""Pictures of the four rooms; matplotlib is imported when one is drawn."""
