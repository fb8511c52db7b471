# Every command works on a fresh machine: it makes the virtual environment and installs what is missing.
