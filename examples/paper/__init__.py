"""What `examples/reproduce_paper.py` is made of: settings, models, measurements, figures and the page."""
