"""The shapes of requests and answers, and what the OpenAPI document says of them."""
