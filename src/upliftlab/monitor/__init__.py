"""May one stop yet? Looks at a running test that stay honest however often one looks."""
