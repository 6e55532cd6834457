"""The page's sections: each a function from all the results to its text, empty where nothing was measured."""
