"""Tables computed from runs and studies."""
