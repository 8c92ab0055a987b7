"""`python -m proxy.cli`: the command without its installed script."""

from proxy.cli import main

main()
