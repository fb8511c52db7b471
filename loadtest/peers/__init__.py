"""The servers that `make bench` compares with: small, and as good as their documentation recommends."""
