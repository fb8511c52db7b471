"""`make bench`: Tickcast beside stock python-socketio and Socket.IO on Node, in one run, with one report."""
