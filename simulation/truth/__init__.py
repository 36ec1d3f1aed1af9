"""What must hold: the changes of each commit, checked against books and a witness of the network."""
