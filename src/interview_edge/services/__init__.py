"""What talks to other people's models on behalf of our clients (contract gateway.md)."""
