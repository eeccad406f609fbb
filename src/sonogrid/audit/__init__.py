"""The audit: what could make a result untrue, and the certificate that training takes as input."""
