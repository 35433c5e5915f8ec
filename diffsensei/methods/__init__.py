"""What can be compared: each method turns panel descriptions into images, and declares what it reads of them."""
