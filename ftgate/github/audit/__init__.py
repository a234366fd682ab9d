"""What stays provable: records, their chain, and waivers."""
