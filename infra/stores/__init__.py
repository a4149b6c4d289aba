"""The stores: one file per scheme."""
