"""Reading scenario files: changes of keys, wording of errors and the choices there are."""
