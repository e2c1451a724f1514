"""diffusers imported without what no restoration uses."""
