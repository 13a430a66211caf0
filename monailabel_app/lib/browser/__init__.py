"""What the page in the browser is shown: cases, frames as pictures, masks as run lengths."""
