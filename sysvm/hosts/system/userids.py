"""The numbers of users that machines of all hosts are given (lxc/ids.py gives them), and of the group of their QEMUs."""

SIZE = 65536  # of the range of one machine
FIRST = 8192  # range; 536,870,912: above what distributions give to users
LAST = 32767  # ids from 2^31 on are negative to some programs
USERS = (FIRST * SIZE, (LAST + 1) * SIZE - 1)
GROUP = (FIRST - 1) * SIZE
