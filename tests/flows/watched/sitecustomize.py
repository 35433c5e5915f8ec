"""In every Python process that has this folder on its path: what would leave this machine is refused and written down.

Python imports this before anything else, so servers, jobs and workers are watched from their first line.
"""

import os

from socket_watch import watch

watch(os.environ["SOCKET_WATCH_FILE"])
