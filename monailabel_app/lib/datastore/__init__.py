"""The studies folder behind MONAI Label's datastore interface."""
