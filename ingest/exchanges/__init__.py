"""The pure core: each exchange is a conversation, a function of bytes and time."""
