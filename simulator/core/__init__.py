"""Virtual time, tasks, garbage collection and records: the base of the other sub-packages of the simulator."""
