return sound() or false
