"""Fleet: many machines on Ray. The functions are those of one machine; this room lists, shards and writes."""
