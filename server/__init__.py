"""Bus -> clients, one replica: hub, delivery, connections and the doors clients come through."""
