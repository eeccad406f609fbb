"""From source picture to canonical tensor."""
