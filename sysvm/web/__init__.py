"""The console page and the libraries it is made with, as files that the console proxy serves."""
