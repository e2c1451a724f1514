"""Many restorations at once on one device: planned, batched evaluation by evaluation, each by its deadline."""
