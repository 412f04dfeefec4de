"""How good a swap is: measured as a stream, judged by limits, shown as a page."""
