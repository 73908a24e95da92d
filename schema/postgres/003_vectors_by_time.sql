-- By this, a node finds the vectors that other nodes have stored since it looked last. Times ascend, so it grows at its right
-- edge, and the rows of a batch share one entry. SQLite needs none: there, one process stores everything.
CREATE INDEX embedding_time ON cache_embeddings (created_at);
