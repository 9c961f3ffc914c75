"""The history of a machine over months: thinned rows, and a bounded sample of its windows."""
