"""What a URL from outside may lead to: addresses that are refused, and the client that keeps to them."""
