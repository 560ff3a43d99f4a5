"""The sub-commands of `burnish`, by what they work on; heavy imports happen inside each."""
