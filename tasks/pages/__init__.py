"""What every HTML page stands on: base template, stylesheet, drawings, axes and number formats."""
