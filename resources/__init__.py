"""Icons, styles, fonts, the sample model and small JSON tables."""
