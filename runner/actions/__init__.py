"""The actions of interventions: a module holds one action and has the name of its key."""
