"""What is measured of a policy: small pure functions that know no model, file or stage."""
