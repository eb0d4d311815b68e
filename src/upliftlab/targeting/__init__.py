"""Whom to treat, how deep, and up to which budget: rules valued in profit."""
