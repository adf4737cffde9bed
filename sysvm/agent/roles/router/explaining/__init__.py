"""What the live rules of a router mean: for one packet (`way.py`), and written out with the ids of the API (`listed.py`)."""
