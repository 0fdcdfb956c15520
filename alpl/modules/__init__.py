"""LightningModules: one a kind of model."""
