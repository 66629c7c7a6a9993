"""What board and studio both speak: messages, release manifest, identity and trust."""
