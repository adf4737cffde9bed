"""Starts the stand-in as the agent is started."""

import sys

if __name__ == "__main__":
    sys.path.insert(0, "/usr/lib/sysvm/python")
    from sysvm.agent.main import main

    main()
