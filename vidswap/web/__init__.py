"""The page of `vidswap ui`: a server on this computer alone, and the processes it works with."""
