"""Fill what is missing of a face: masks, the nets that fill them, and how a filling is blended."""
