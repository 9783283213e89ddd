"""Attacks of honest-but-curious observers on recorded views: pure functions of views and of public facts."""
