"""The methods DiffSensei is compared with (paper Table 2), each whole in a folder: network, training, drawing."""
