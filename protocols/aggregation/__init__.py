"""How a node learns a sum without learning the terms: authenticated pair keys and masks that cancel."""
