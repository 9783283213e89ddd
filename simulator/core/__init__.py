"""Virtual time, tasks, garbage collection and records: the base of the other rooms of the simulator."""
