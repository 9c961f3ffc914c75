"""What a machine was heard to do over months: thinned rows, and a bounded sample of what they were."""
