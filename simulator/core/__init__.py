"""Virtual time, tasks, garbage collection and records: what every other room of the simulator rests on."""
